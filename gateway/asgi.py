"""The ASGI application: ``daphne gateway.asgi:application``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable
from typing import Any, Final

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
try:
    django_application = get_asgi_application()
except ImproperlyConfigured as error:
    sys.exit(f"this can't be served: {error}")

from django.core import checks  # noqa: E402 (Django has to be set up first)

from gateway.login import LoginHandler, hashes  # noqa: E402
from gateway.metrics import listen  # noqa: E402
from gateway.middleware import OF_THE_GATEWAY  # noqa: E402
from notifications.api.parsers import NOT_UTF8, is_utf8  # noqa: E402
from notifications.api.ways.short import ApiHandler, take  # noqa: E402
from realtime.access.limits import refusals  # noqa: E402
from realtime.access.origins import deny  # noqa: E402
from realtime.apps import TAG  # noqa: E402
from realtime.conf import conf  # noqa: E402
from realtime.consumers import StompConsumer, upgrade_required  # noqa: E402
from realtime.nodes.health import LIVE, READY, health  # noqa: E402
from realtime.sessions.node import this_node  # noqa: E402
from realtime.sse.view import event_stream  # noqa: E402

if errors := [
    each for each in checks.run_checks(tags=[TAG]) if each.is_serious() and not each.is_silenced()
]:
    # No server begins with it: where others serve, they stay.
    sys.exit("\n".join(["this can't be served:", *map(str, errors)]))

listen()
api_application: Any = ApiHandler(OF_THE_GATEWAY)
if conf.STOMP_TRACING:
    from realtime.tracing import traced

    api_application = traced(api_application)
login_application = LoginHandler()
stomp_consumer = StompConsumer()  # one for all clients


#: Bytes of an Accept: Django REST framework takes a tenth of a second to take 16 kB apart.
MAX_ACCEPT: Final = 1024


def why_not(scope: Any) -> tuple[int, str, str] | None:
    """Return the status, the reason and the text for requests that nothing should try to read."""
    named: dict[bytes, list[bytes]] = {b"content-type": [], b"accept": []}
    for name, value in scope["headers"]:
        if name in named:
            named[name].append(value)  # said several times it is one, for Django
    if not is_utf8(b",".join(named[b"content-type"]).decode("latin-1")):
        return 415, "unsupported-charset", NOT_UTF8
    if len(b",".join(named[b"accept"])) > MAX_ACCEPT:
        return 431, "accept-too-long", f"Accept has more than {MAX_ACCEPT} bytes"
    return None


async def refuse(scope: Any, send: Any, status: int, reason: str, text: str) -> None:
    """Answer before anything is read, for that may take any time."""
    refusals.note(reason, scope.get("client"), text)
    body = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})


async def http_application(scope: Any, receive: Any, send: Any) -> None:
    if (wrong := why_not(scope)) is not None:
        await refuse(scope, send, *wrong)
    elif scope["path"] in (LIVE, READY):
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


def websocket_application(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
    """Return what serves a WebSocket; who awaited it here would be there as long as the client."""
    path = scope["path"].removeprefix(scope.get("root_path", "")).removesuffix("/")
    return (stomp_consumer if path == "/stomp" else deny)(scope, receive, send)


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """Begin and end the node with its server; our daphne does so without this."""
    await receive()
    this_node().start()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await this_node().close()
    await send({"type": "lifespan.shutdown.complete"})


application: Any = ProtocolTypeRouter(
    {
        "http": http_application,
        "lifespan": lifespan,
        "websocket": websocket_application,
    }
)
if not conf.STOMP_TRACING:
    application.at_once = take  # our own server asks it first: no task for each request
