"""
History: what was published lately, so that who was away, or lost a message, gets it after all.

Redis keeps a stream of entries for each destination that has a history, bounded by size and age,
and its position. A position is an epoch and an offset: offsets count the messages of a destination
without a gap, and an epoch ends when Redis may have forgotten some of them (another server
process has taken over: a restart, an older snapshot, a replica that lagged). Then the offset at
which the old epoch ended is kept, so that what is older still counts.

``positions``  Position: an epoch and an offset, the ``message-id``; the epochs that ended
``log``        Log: a history as this process knows it; it tells what is missing, or lost

How much is kept the routing table says (``routes.topics``); the layer reads Redis, and
``layer.pages`` a history without subscribing.

Why so:

* Nobody is refused from memory. Who comes back may have heard on another process what has not come
  here yet, or an epoch that this process has not noticed; so a position that is unknown here is
  looked for in Redis before the answer is ``recovered:false``.
* Reading an empty history writes nothing, so that nobody fills Redis by asking. Its position is
  made of what all processes know, and counts for as long as no history can have begun and been
  forgotten unnoticed: 40 to 60 minutes. Only somebody who deletes keys by hand, or a Redis that
  evicts them, can make such a position count wrongly; one with messages before it never does.
* Positions outlive their entries twelvefold, at least an hour, and live while they are read: a
  subscriber of a quiet topic is not told of a loss.

May import ``routes``.
"""

from realtime.routes.topics import History

__all__ = ["History"]
