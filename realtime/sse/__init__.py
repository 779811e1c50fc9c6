"""
SSE: topics as server-sent events, the second edge beside STOMP.

::

    GET /api/events ──> view: origin, login, topics ──> EventStream ──> Hub, Outbox
                                                           └ EventTopic: one Subscription each

``view``    the ASGI application, and what it answers when it refuses
``stream``  EventStream: one client
``events``  EventTopic, and the events of messages

Why so:

* An ASGI application beside Django: an async view with a StreamingHttpResponse passes through the
  middleware, whose synchronous hooks run on a thread that Django then keeps for as long as the
  stream lasts. Ours holds no thread. An idle stream holds 17 KiB, and a delivery costs 100 us, some
  ten times as much as on a WebSocket: the way for those who have no other.
* The ``id`` of an event is a list of positions, in the order of the request, without names: 128
  topics fit in the 16 KiB that daphne allows for all headers.

May import ``sessions``, ``hub``, ``delivery``, ``access``, ``messages`` and ``destinations``.
"""
