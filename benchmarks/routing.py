"""The routing table that the gateway is measured with: rules, as for production."""

from __future__ import annotations

from gateway.routing import routes as gateway_routes
from realtime.routes import allow, authenticated, group, service

routes = [
    *(allow(f"/topic/team-{number}/**", subscribe=group(f"team-{number}")) for number in range(20)),
    *gateway_routes,
    allow("/topic/**", subscribe=authenticated, send=authenticated, publish=service),
]
