"""
Server: daphne, made fast and safe for many clients that stay: nothing grows without bound.

::

    socket ──> HttpConnection ──> GatewayRequest ──> Inbox ──> the application's receive
                     └──> GatewayProtocol: Traffic ──> take_messages ──> Inbox ──┘
    socket <── write <── GatewayRequest, GatewayProtocol <── the application's send
                 └────── the session's Outbox, which writes frames itself

``server``      GatewayServer: applications, timeouts; all that daphne's command offers
``connection``  HttpConnection: bytes of HTTP/1.1 become requests, one after the other
``http``        GatewayRequest: one request and its answer
``handshake``   which request becomes a WebSocket
``websocket``   GatewayProtocol: one WebSocket from its handshake to its end
``traffic``     what comes and goes on it
``inbound``     from bytes to messages, and the Inbox in which they wait
``bounds``      what a client may have, all of one address, and all together
``turns``       how many requests begin in one turn of the event loop
``flow``        Paced: writers that wait for clients
``shutdown``    how it says goodbye to its clients at the end, and with which code
``memory``      what is given back when a crowd has gone

Put in place by :mod:`realtime.apps`, through the names by which daphne makes its factories, so that
the stock commands ``daphne`` and ``runserver`` have it. Of daphne remain its command, its
endpoints and its access log; of Twisted the event loop and its sockets.

Why so:

* llhttp (httptools), which is that of Node.js, reads HTTP, in place of twisted.web and autobahn: a
  POST went from 354 us to 120, a connection with CONNECT and SUBSCRIBE from 1.06 ms to 0.46, an
  idle session from 23.8 KiB to 20.5 (2026-11, by turns in one run). llhttp refuses what can be read
  in two ways: two lengths, a length beside chunks, folded headers, bare line feeds.
* An application may offer ``at_once``, for requests that need no task of their own: see
  :class:`.GatewayServer`. That is a quarter of what such a request costs.
* What a client sends at once reaches its session as one event: a turn through the inbox costs 5 us.
* A WebSocket frame costs what a small message does, however little is in it: so clients have a
  budget of those that carry less than 32 bytes, and no honest one feels it.
* An idle session went from 21.2 KiB to 9.7 (2026-11). What it does not need it does not keep: no
  router awaits it, whose frame would hold the scope, and CONNECT is the last that reads that. A
  deque has 0.7 KiB when it is empty, a partial 0.2 where a method would do.
* A clean end of the TCP connection: what is closed with unread input is reset, and browsers call
  that unclean; ours ends in order, and after a second in any case.
* Threads hold the interpreter for 0.5 ms at most, and the garbage collector looks less often: the
  99th percentile of the latency of 1 000 sessions fell from 81 ms to some 25 ms.

May import ``access``, ``delivery``, ``sessions``, ``conf`` and ``stomp``.
"""
