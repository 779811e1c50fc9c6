from __future__ import annotations

from django.apps import AppConfig
from django.core import checks


class NotificationsConfig(AppConfig):
    name = "notifications"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from realtime.sessions.node import services

        from .api.ways.callers import serve
        from .bridges.checks import check_bridges

        services.append(serve)
        checks.register(check_bridges)
