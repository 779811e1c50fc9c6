"""
Destinations: what the text means that messages are sent to.

================================  =====================================================
``/topic/NAME``                   a topic: every subscriber gets every message
``/app/NAME``                     an application destination: a handler or a bridge gets it
``/user/queue/NAME``              what a client subscribes to for its own user's messages,
``/user/USER/queue/NAME``         where services send them
``/temp-queue/NAME``              what a client names as ``reply-to``,
``/temp-queue/SESSION/NAME``      where the answer to exactly that session goes
================================  =====================================================

``names``       the prefixes, what is legal, and what a client's own names stand for
``patterns``    Pattern: ``*`` and ``**`` in subscriptions and in the routing table
``groups``      the channel-layer group of a destination: ``stomp.topic.orders.1``
``remembered``  how much is remembered of destinations

Why so: names of groups are readable, so Redis can match patterns of them, and ``PUBSUB CHANNELS``
tells operators something. A name of 100 characters and more is hashed, as Channels demands.

Imports nothing of ours.
"""
