"""The gateway's routing table, with no history: for what a history costs."""

from __future__ import annotations

from gateway.routing import routes as gateway_routes
from realtime.routes.topics import History

routes = [*gateway_routes, History("/topic/**", size=0)]
