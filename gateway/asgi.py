"""The ASGI application: ``daphne gateway.asgi:application``."""

from __future__ import annotations

import os
import sys
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
try:
    django_application = get_asgi_application()
except ImproperlyConfigured as error:
    sys.exit(f"this can't be served: {error}")

from django.core import checks  # noqa: E402 (Django has to be set up first)
from django.urls import re_path  # noqa: E402

from gateway.login import LoginHandler, hashes  # noqa: E402
from gateway.metrics import listen  # noqa: E402
from notifications.api.handler import SynchronousHandler  # noqa: E402
from realtime.access.origins import deny  # noqa: E402
from realtime.apps import TAG  # noqa: E402
from realtime.conf import conf  # noqa: E402
from realtime.consumers import StompConsumer, upgrade_required  # noqa: E402
from realtime.nodes.health import LIVE, READY, health  # noqa: E402
from realtime.sessions.node import this_node  # noqa: E402
from realtime.sse.view import event_stream  # noqa: E402

if wrong := [
    each for each in checks.run_checks(tags=[TAG]) if each.is_serious() and not each.is_silenced()
]:
    # No server begins with it: where others serve, they stay.
    sys.exit("\n".join(["this can't be served:", *map(str, wrong)]))

listen()
api_application: Any = SynchronousHandler()
if conf.STOMP_TRACING:
    from realtime.tracing import traced

    api_application = traced(api_application)
login_application = LoginHandler()


async def http_application(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] in (LIVE, READY):
        await health(scope, receive, send)
    elif scope["path"].removesuffix("/") == "/stomp":
        await upgrade_required(scope, receive, send)
    elif scope["path"].removesuffix("/") == "/api/events":
        await event_stream(scope, receive, send)
    elif hashes(scope):
        await login_application(scope, receive, send)
    else:
        api = scope["path"].startswith("/api/") or scope["path"] == "/metrics"
        await (api_application if api else django_application)(scope, receive, send)


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """Begin and end the node with its server; our daphne does so without this."""
    await receive()
    this_node().start()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await this_node().close()
    await send({"type": "lifespan.shutdown.complete"})


application = ProtocolTypeRouter(
    {
        "http": http_application,
        "lifespan": lifespan,
        "websocket": URLRouter(
            [
                re_path(r"^stomp/?$", StompConsumer.as_asgi()),
                re_path(r"", deny),
            ]
        ),
    }
)
