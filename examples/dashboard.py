"""Dashboard: the numbers of a service, which publishes them on a Redis channel every second."""

from __future__ import annotations

from notifications.bridges import from_channel
from realtime.routes import allow, authenticated, topic

routes = [
    from_channel("EXAMPLE_NUMBERS", to="/topic/examples/dashboard", format="json"),
    # Who was away gets what it missed; who reads too slowly, only the newest.
    topic("/topic/examples/dashboard", history=120, ttl=300, slow_clients="latest"),
    allow("/topic/examples/dashboard", subscribe=authenticated),
]
