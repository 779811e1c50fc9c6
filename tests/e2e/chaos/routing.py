"""The routing table of the gateways under chaos."""

from __future__ import annotations

from gateway.routing import routes as own_routes
from realtime.routes.topics import History

SIZE = 1000

routes = [*own_routes, History("/topic/chaos/**", size=SIZE, ttl=3600)]
