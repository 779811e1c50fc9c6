"""
Sessions: one live client, and all of a node.

::

    StompConsumer ──> StompSession.receive ──> Connection: bytes as events
                          │ SUBSCRIBE  ──> Subscriptions ──> Hub
                          │ SEND       ──> Publishing ──> broker: batch by batch
                          │ SEND /app  ──> handlers: functions of the routing table
                          └ RECEIPT, ERROR, MESSAGE ──> Outbox

``stomp_session``  StompSession: acts on what a client asks for
``session``        Session: the client, as handlers and operators see it
``subscriptions``  Subscriptions: what it hears; ``publishing``: what it sends, bounded
``handlers``       the calls of functions of the routing table
``heartbeats``     what the clock demands; ``pace``: how fast it is read
``failures``       any error as one of STOMP
``node``           Node: hub, clock and sessions of a process; ``records``: their database rows

Why so:

* A handler that raises ends no session. STOMP demands a close after every ERROR; a fault of ours
  should not cut a client's other subscriptions. So there is no ERROR and no RECEIPT, and an empty
  reply with the header ``error`` where one was asked for.
* Who sends too fast is read more slowly, and never closed for it: an honest client that sends as
  fast as it can notices nothing else, and an abuser gains nothing. It is looked at the clock after
  25 requests, when the others get their turn anyway.
* Rows of live sessions are written behind, a third at a time: a storm of 10 000 connections is
  some transactions, and a dead database is no client's problem.

May import ``hub``, ``broker``, ``access``, ``delivery``, ``routes``, ``messages`` and ``stomp``.
"""
