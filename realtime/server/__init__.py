"""
Server: daphne, made safe for many clients that stay: nothing grows without bound, or stops unseen.

::

    socket ──> GatewayProtocol ──> take_messages ──> Inbox ──> the application's receive
    socket <── write <── Outbox, past autobahn; or <── handle_reply <── the application's send

``server``     GatewayServer: connections, applications, timeouts, and the drain at the end
``websocket``  GatewayProtocol: one WebSocket; ``slim``: what it need not keep
``inbound``    from bytes to messages, and the Inbox in which they wait
``http``       GatewayRequest: one HTTP request, bounded
``flow``       Paced: writers that wait for clients

Put in place by :mod:`realtime.apps`, through the attributes that daphne and Twisted have for it, so
that the stock commands ``daphne`` and ``runserver`` have it.

Why so:

* What clients send passes autobahn too, if it is plain: its parser costs 20 us a message. What a
  client sends at once reaches its session as one event: a turn through the inbox costs 5 us.
* A clean end of the TCP connection: autobahn resets it after the closing handshake, and browsers
  then report an unclean close; ours ends it in order, and after a second in any case.
* Threads hold the interpreter for 0.5 ms at most, and the garbage collector looks less often: the
  99th percentile of the latency of 1 000 sessions fell from 81 ms to some 25 ms.

May import ``sessions``, ``conf`` and ``stomp``.
"""
