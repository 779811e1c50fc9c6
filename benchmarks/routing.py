"""The routing table that the gateway is measured with: rules, as for production."""

from __future__ import annotations

from gateway.routing import routes as gateway_routes
from realtime.routes import allow, authenticated, group, on_subscribe, service

from .turns import longest_turn

routes = [
    *(allow(f"/topic/team-{number}/**", subscribe=group(f"team-{number}")) for number in range(20)),
    *gateway_routes,
    on_subscribe("/app/longest-turn", longest_turn),
    allow("/app/longest-turn", subscribe=authenticated),
    allow("/topic/**", subscribe=authenticated, send=authenticated, publish=service),
]
