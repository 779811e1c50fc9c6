"""
Routes: the routing table, and what it says of a destination.

The module that ``STOMP_ROUTING`` names has a list ``routes`` of entries, as ``urls.py`` has one
of paths. It is compiled once; an entry that is wrong says so when it is made::

    from realtime.routes import allow, authenticated, on_send, on_subscribe, service, topic

    routes = [
        allow("/topic/prices/**", subscribe=authenticated, publish=service),
        allow("/app/**", send=authenticated, subscribe=authenticated),
        topic("/topic/prices/**", history=None, slow_clients="latest"),
        on_send("/app/orders/<int:id>", change_order),
        on_subscribe("/app/settings", current_settings),
    ]

``topics``        what is kept of a topic, and what becomes of its slow clients
``rules``         who may do what
``applications``  who gets what is sent to ``/app/...``
``table``         all entries, compiled; each question is answered from memory
``asyncapi``      what they let clients hear and send, as a document

The first entry that fits counts. Other packages add entries of their own (the bridges do), and
find them with :meth:`.Table.entries`.

May import ``destinations``, ``concurrency`` and ``conf``.
"""

from .applications import on_send, on_subscribe
from .rules import allow, anyone, authenticated, group, owner, permission, service, staff
from .topics import History, on_slow_client, topic

__all__ = [
    "History",
    "allow",
    "anyone",
    "authenticated",
    "group",
    "on_send",
    "on_slow_client",
    "on_subscribe",
    "owner",
    "permission",
    "service",
    "staff",
    "topic",
]
