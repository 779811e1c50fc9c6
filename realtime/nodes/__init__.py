"""
Nodes: server processes, as operators and orchestrators see them, and act on them.

::

    every node, each two seconds ── Report ──> Board (Redis) ──> overview: sums, what is wrong
                                                                    ├──> admin, API, commands
                                                                    └──> /topic/$SYS/overview, where
    ask("sessions", user="alice") ── notice ──> every node               somebody of the staff looks
             ^                                     │ Answers
             └──────────── Board <─────────────────┘

Nothing of it is in the database, and nothing is written for a message: who wants to know asks.

``board``     where nodes leave reports and answers: in Redis, for seconds
``report``    what a node tells of itself
``overview``  all reports as one
``figures``   what is shown of these, and values as people read them
``inquiry``   :func:`ask` all nodes, or some, and gather their answers
``found``     sessions, topics and presence of all nodes as one
``acts``      what operators do to sessions, and that it is written down
``answers``   what a node answers: its sessions and topics, and what it is told to do with them
``rates``     how many messages a second each session sends and gets
``service``   what runs for this on each node
``health``    ``GET /healthz`` and ``GET /readyz``: does this process live, is it ready for clients?
``readiness`` a publish and a subscription, tried on each part of Redis

May import ``sessions`` and all below.
"""
