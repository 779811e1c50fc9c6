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

What comes in is carried by ``manage.py bridge``, each route by one of any number of such
processes; what goes out, by the process in which the client's SEND arrived.

================  ==========================================================================
``routes``        the entries, and ``checks`` of them
``formats``       what a message looks like on Redis
``lease``         which process carries a route
``carrier``       publishes what came by a route, puts aside what it can't, and counts
``channels``      hears Redis channels
``streams``       reads a Redis stream
``runner``        all of it, until cancelled; ``progress`` for people and programs
``dead_letters``  what could not be delivered; ``store``, where that and the rest is in Redis
``status``        how the routes are doing; ``table`` for people
================  ==========================================================================
"""

from __future__ import annotations

from .routes import from_channel, from_pattern, from_stream, to_channel, to_stream

__all__ = ["from_channel", "from_pattern", "from_stream", "to_channel", "to_stream"]
