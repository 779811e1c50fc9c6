"""The gateway's routing table with rules that ask the database: for what rules cost."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Permission

from gateway.routing import routes as gateway_routes
from realtime.routes import allow, authenticated


def in_database(*_: Any) -> bool:
    """Ask as much as a permission does, of clients that are not logged in."""
    return Permission.objects.filter(codename="add_user").exists()


routes = [
    *(allow(f"/topic/team-{number}/**", subscribe=authenticated) for number in range(20)),
    allow("/topic/**", subscribe=in_database, send=in_database),
    *gateway_routes,
]
