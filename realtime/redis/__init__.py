"""
Redis: how everything connects to Redis or Valkey: one server, sentinels, or a cluster.

A guest in this house: it knows nothing of messages, and could be a package of its own.

::

    connect ──> a pool       hosts, sentinel, cluster + slots: where connections come from
            ──> a pipeline   commands in one write: pipeline; cluster_pipeline: to each node
            ──> a client     the same for synchronous code: exchange
    subscriber               hears Redis channels: one connection, one owner; in a cluster sharded
                             ones, with a connection to each node
    link                     one connection, under pipeline and subscriber
    commands                 what is sent
    replicas                 waiting until they have it; leaving what has become one

Why so:

* A protocol of our own on redis-py's connections: redis-py connects (TLS, login, Sentinel); then
  its streams give way to an ``asyncio.Protocol`` that feeds hiredis. The streams cost more per
  answer than all else together, and redis-py 8.1 takes ``ETIMEDOUT`` for an answer that has not
  come yet, and spins on the dead socket.
* The subscribing connection is our own: redis-py's re-subscription leaks and races under churn.
* A command is never sent twice: after a broken link nobody knows whether Redis took it. What a node
  of a cluster answers with MOVED, ASK or TRYAGAIN was not executed, and goes on to the right one.
  So it is with NOSCRIPT, after a neighbour's SCRIPT FLUSH: the call is sent again with its text.
* Links ask whether they lead where they should, each second: the sentinels where there are some,
  otherwise the server itself. A PUBLISH on a primary that is cut off, or on a replica, succeeds,
  and those elsewhere do not hear it.
* Not redis-py's cluster client: it connects anew whenever it looks at the nodes, its pipeline
  refuses EVALSHA and PUBLISH, and its pub/sub stays with one node.
* One WAIT for each written batch: Redis reads nothing from a connection that waits, so what comes
  meanwhile goes together in the next write.

May import ``concurrency``.
"""

from .commands import REDIS_ERRORS, Call, Command, Fenced, Script
from .connect import (
    create_client,
    create_pool,
    execute_all,
    open_pipeline,
    pipeline_to,
    try_all,
    without_password,
)
from .hosts import address_shown

__all__ = [
    "REDIS_ERRORS",
    "Call",
    "Command",
    "Fenced",
    "Script",
    "address_shown",
    "create_client",
    "create_pool",
    "execute_all",
    "open_pipeline",
    "pipeline_to",
    "try_all",
    "without_password",
]
