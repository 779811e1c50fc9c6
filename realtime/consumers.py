"""StompConsumer: the ASGI shell of one WebSocket; all else is :class:`.StompSession`'s."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from channels.consumer import AsyncConsumer

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
