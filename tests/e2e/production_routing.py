"""The routing table of the gateways that are restarted under load."""

from __future__ import annotations

from gateway.routing import routes as own_routes
from notifications.bridges import from_stream
from realtime.routes import allow, authenticated, service, topic

STREAM = "PRODUCTION_STREAM"
STREAMED = "/topic/production/streamed"

routes = [
    *own_routes,
    allow("/topic/production/*", subscribe=authenticated, send=authenticated, publish=service),
    topic("/topic/production/*", history=5000, ttl=3600),
    from_stream(STREAM, to=STREAMED),
]
