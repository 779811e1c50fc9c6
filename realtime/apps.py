from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks


class RealtimeConfig(AppConfig):
    name = "realtime"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import server

        server.install()
        checks.register(check_routing)


def check_routing(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E001: the routing table that ``STOMP_ROUTING`` names can't be loaded."""
    from .handlers import load_routes

    try:
        load_routes()
    except Exception as error:
        return [
            checks.Error(
                f"the routing table {settings.STOMP_ROUTING!r} can't be loaded: {error}",
                hint="STOMP_ROUTING names a module with a list called routes.",
                id="realtime.E001",
            )
        ]
    return []
