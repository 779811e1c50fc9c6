"""
Bridges between destinations of clients and Redis channels and streams of services.

Both directions are entries of the routing table::

    routes = [
        from_channel("GREETING_CHANNEL_INBOUND", to="/topic/greetings"),
        from_pattern("orders.*", to="/topic/orders/{1}"),
        from_stream("ORDERS", to="/topic/orders"),
        to_channel("/app/greet", "GREETING_CHANNEL_OUTBOUND"),
        to_stream("/app/test", "TEST_EVENT_TO_BACKEND", maxlen=10_000),
    ]

What comes in is consumed by ``manage.py bridge``, each route by one of any number of such
processes; what goes out, by the process in which the client's SEND arrived::

    Redis channel, stream ──> channels, streams ──> Publisher ──> broker, with a fence
                                                       └ can't be published ──> dead_letters

``routes``      the entries; ``checks`` of them; ``formats``: what a message looks like on Redis
``runner``      Runner: consumes a route while this process owns it; ``lease``: which process does
``publisher``   Publisher: publishes, dead-letters and counts; ``channels``, ``streams`` read
``status``      how the routes are doing; ``progress`` for people, ``metrics`` for Prometheus
``store``       the keys of all that in Redis

Outboxes of databases, :mod:`realtime.django.outbox`, are routes as well: ``runner`` relays them.

Why so:

* Two bridges doubled every message, and one is not enough: so each route has one owner. A lease
  alone does not do: an owner that was asleep publishes before it looks. So each lease has a token,
  greater than all before, and the script that publishes refuses the smaller.
* The last entry published is kept with each topic, in the same atomic step: a consumer group alone
  delivers again what its reader had published and not yet acknowledged when it died.
* An entry says which one was begun before it for its destination, and the script takes it only
  after that one: a link that dies would otherwise leave a gap that nothing can fill any more.

May import ``realtime`` and ``dead_letters``.
"""

from __future__ import annotations

from .routes import from_channel, from_pattern, from_stream, to_channel, to_stream

__all__ = ["from_channel", "from_pattern", "from_stream", "to_channel", "to_stream"]
