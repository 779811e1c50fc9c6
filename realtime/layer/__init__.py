"""
Layer: the channel layer, by which what is published reaches every process.

::

    broker ──> Publisher ──> publish.lua, in Redis ──> a Redis channel, once for each process
    hub    <── LoopLayer <── Subscriber <────────────────┘
    hub    ──> Reader    ──> read.lua: what was published lately

``layer``       TopicLayer: the contract of Channels; Reader: what Redis keeps
``publishing``  Publisher: messages to Redis, together; ``fence``: one process at a time
``loop``        LoopLayer: what one event loop has, and hands over to who listens
``plain``       PlainLayer: any other channel layer behind the same face; ``face_of`` gives it
``tickets``     what a browser comes in with, once
``scripts``     the ``.lua`` files as scripts; ``pages``: a history without subscribing

Why so:

* One atomic step for a message with history: a script appends and publishes. Without it, what a
  subscriber hears and what a history says could differ in order.
* What is published in one turn travels as one call, in a section for each destination: one-to-one
  over 300 topics went from 66.3 us of processor time a message to 49.4, Redis' from 26.5 to 17.9.
* A generation for each run of Redis: a connection learns the server's ``run_id``, and the script
  compares it with that of the last publish. After a restart or a failover a new epoch begins.
* Small histories: Redis reserves 4 KiB for the first entry of a stream, but not for that of a copy.
  A topic with one message of 150 bytes went from 4.7 kB to 0.8, for two more commands at its first.
* Sharded channels, in a cluster that has them: a PUBLISH goes to all nodes, an SPUBLISH stays on
  one. There are no patterns of them; so who hears patterns leaves a mark on each node, and while
  there is one for a topic, a PUBLISH for patterns is made, too: by the script, or, of what is not
  kept, by who has read what the marks say, since a script costs thrice what plain commands do.
* No queue between layer and hub: the layer calls the hub, and stops reading while it asks to wait.

May import ``redis``, ``history``, ``messages``, ``routes`` and ``destinations``.
"""

from .layer import TopicLayer

__all__ = ["TopicLayer"]
