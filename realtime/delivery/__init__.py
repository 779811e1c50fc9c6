"""
Delivery: from a message to one client's socket; nobody waits for another client.

::

    hub ──> Subscription.queue ──> Outbox ──> Transport (the socket), or ASGI's send
                                     └ Flusher: one write for each client and loop turn

``frames``      Frames: encoded once for all who share them; SharedFrames, and the encoders
``queue``       Queue, what stands before the outbox; Direct is nothing at all
``ack_window``  AckWindow: bounds what is unacknowledged
``slow_clients`` LossyQueue: keeps the newest for who is slow
``replay``      Replay: what was missed comes first, then Direct again
``telling``     Telling: headers for the next MESSAGE, then the queue behind it again
``outbox``      Outbox and Flusher

Why so:

* Frames are made with their WebSocket head, once for all who share them, and written by the session
  to the socket: 300 subscribers cost about 7 us each, of which 4.5 are the kernel's.
* ``ack`` is the subscription's key and the message's id, not a counter per session: so the frame
  can still be shared by all clients that number their subscriptions alike.
* What travels together is delivered together: a delivery in a fan-out to 300 went from 9.1 us to
  3.2.

May import ``messages``, ``stomp`` and ``concurrency``.
"""
