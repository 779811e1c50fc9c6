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
        checks.register(check_sizes)


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


#: daphne refuses WebSocket messages over 1 MiB, in and out (4.2.2); a MESSAGE has headers that
#: the SEND did not have, and escapes in those that it had.
MAX_FRAME_BYTES = 896 * 1024


def check_sizes(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E002: a message that a client may send would not pass the server on its way out."""
    if max(settings.STOMP_MAX_FRAME_BYTES, settings.STOMP_MAX_BODY_BYTES) > MAX_FRAME_BYTES:
        return [
            checks.Error(
                f"STOMP_MAX_FRAME_BYTES and STOMP_MAX_BODY_BYTES may be {MAX_FRAME_BYTES} at most",
                hint="daphne carries WebSocket messages of up to 1 MiB.",
                id="realtime.E002",
            )
        ]
    return []
