"""The ASGI application: ``daphne gateway.asgi:application``."""

from __future__ import annotations

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
django_application = get_asgi_application()

from django.urls import re_path  # noqa: E402 (Django has to be set up first)

from realtime.access import check_origin, deny  # noqa: E402
from realtime.consumers import StompConsumer  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": URLRouter(
            [
                re_path(r"^stomp/?$", check_origin(StompConsumer.as_asgi())),
                re_path(r"", deny),
            ]
        ),
    }
)
