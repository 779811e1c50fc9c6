"""The gateway's routing table without its rules, so that DEBUG lets everybody do everything."""

from __future__ import annotations

from gateway.routing import routes as gateway_routes
from realtime.routes.rules import Rule

routes = [entry for entry in gateway_routes if not isinstance(entry, Rule)]
