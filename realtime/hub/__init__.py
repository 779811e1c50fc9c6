"""
Hub: which local subscription hears which destination.

::

    LoopLayer ──> Hub.receive ──> Feed ──> each Subscription ──> its queue
                                   │ not the very next?
                                   └> CatchUp ──> Reader: the history

``hub``           Hub: one for a process, with one channel of the layer
``feed``          Feed: the local subscriptions of one destination; Membership: in its group
``catch_up``      CatchUp: where its history stands, and what is missing
``subscription``  Subscription: what one client hears, and the queue before its outbox

Why so:

* One channel per process: a plain Channels consumer has a channel, a Redis subscription and a
  decoding of its own for every client; here a publish costs Redis one copy per process.
* Redis is asked at every SUBSCRIBE, though the process may have joined long ago: the answer is
  there at once while the link holds, and an error while Redis is away. Otherwise a RECEIPT would
  promise what nobody can keep.
* A burst of many different frames is delivered little by little, so that it holds up nobody.

May import ``delivery``, ``layer``, ``history``, ``messages``, ``routes`` and ``destinations``.
"""
