"""
Server: daphne, made safe for many clients that stay: nothing grows without bound, or stops unseen.

::

    socket ──> Traffic ──> take_messages ──> Inbox ──> the application's receive
    socket <── write <── Outbox, past autobahn; or <── handle_reply <── the application's send

``server``     GatewayServer: connections, applications, timeouts
``shutdown``   how it says goodbye to its clients at the end, and with which code
``websocket``  GatewayProtocol: one WebSocket; ``slim``: what it need not keep
``traffic``    what comes and goes on it; ``budget``: how many small frames a client may send
``inbound``    from bytes to messages, and the Inbox in which they wait
``http``       GatewayRequest: one HTTP request, bounded in size and time
``bounds``     what all requests may have together, and all connections of one address
``turns``      how many requests begin in one turn of the event loop
``flow``       Paced: writers that wait for clients

Put in place by :mod:`realtime.apps`, through the attributes that daphne and Twisted have for it, so
that the stock commands ``daphne`` and ``runserver`` have it.

Why so:

* autobahn does the handshakes only: its parser costs 20 us a message, and copies all that was read
  for each frame, so that few clients with many small frames held up all others. What a client
  sends at once reaches its session as one event: a turn through the inbox costs 5 us.
* A WebSocket frame costs what a small message does, however little is in it: so clients have a
  budget of those that carry less than 32 bytes, and no honest one feels it.
* A clean end of the TCP connection: autobahn resets it after the closing handshake, and browsers
  then report an unclean close; ours ends it in order, and after a second in any case.
* Threads hold the interpreter for 0.5 ms at most, and the garbage collector looks less often: the
  99th percentile of the latency of 1 000 sessions fell from 81 ms to some 25 ms.

May import ``access``, ``sessions``, ``conf`` and ``stomp``.
"""
