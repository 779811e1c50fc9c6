"""
StompConsumer: the ASGI shell of one WebSocket; all else is :class:`.StompSession`'s.

:func:`upgrade_required` answers whoever comes to its address without one.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final

from channels.consumer import AsyncConsumer

from .access.limits import refusals
from .access.origins import admit, deny, header, refusal
from .sessions.node import this_node
from .sessions.stomp_session import StompSession


class StompConsumer(AsyncConsumer):
    """
    One client, if it comes from an allowed origin.

    It holds no channel of its own: messages come from the node's hub. Events do not pass through
    ``dispatch``, which goes through a thread before each (channels#2132).
    """

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        """Return what serves the client."""
        origin = header(scope, b"origin")
        admitted = admit(scope, origin)
        if admitted is None:
            return deny(scope, receive, send, refusal(scope, origin))
        return StompSession(admitted, send, this_node()).run(receive)


_UPGRADE: Final = (
    "this address is for WebSockets, and this request came without Upgrade: websocket; a proxy in"
    " between has to pass it on, in nginx with proxy_http_version 1.1;"
    ' proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
)


async def upgrade_required(scope: Any, receive: Any, send: Any) -> None:
    """
    Answer 426 and say what is missing: the ASGI application of HTTP at the address of WebSockets.

    A browser behind a proxy that drops ``Upgrade`` tells its page nothing; the answer does, and a
    line in the log.
    """
    refusals.note("no-upgrade", scope.get("client"), _UPGRADE)
    body = f"{_UPGRADE}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"upgrade", b"websocket"),
        (b"connection", b"upgrade"),
    ]
    await send({"type": "http.response.start", "status": 426, "headers": headers})
    await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})
