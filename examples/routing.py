"""The routing table of `make demo`: that of each example, before the gateway's own."""

from __future__ import annotations

from gateway.routing import routes as gateway_routes
from notifications.bridges import from_channel

from . import chat, cursors, dashboard, presence, progress

routes = [
    *chat.routes,
    *dashboard.routes,
    *presence.routes,
    *progress.routes,
    *cursors.routes,
    # A line of text every five seconds, which the console shows.
    from_channel("EXAMPLE_TICKER", to="/topic/examples/ticker"),
    *gateway_routes,
]
