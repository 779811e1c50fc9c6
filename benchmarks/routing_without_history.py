"""The benchmarks' routing table, with no history: for what a history costs."""

from __future__ import annotations

from benchmarks.routing import routes as benchmarks_routes
from realtime.routes.topics import History

routes = [*benchmarks_routes, History("/topic/**", size=0)]
