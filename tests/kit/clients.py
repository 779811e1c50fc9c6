"""StompClient: a client over a WebSocket, as our own tests have it: subscriptions have numbers."""

from __future__ import annotations

from realtime.stomp import Frame
from realtime.testing.client import TIMEOUT
from realtime.testing.live import LiveClient

__all__ = ["TIMEOUT", "StompClient"]


class StompClient(LiveClient):
    """
    ::

        async with StompClient(url) as client:
            await client.subscribe("/topic/toast")
            message = await client.message()
    """

    async def subscribe(self, destination: str, id: str | None = "0", **headers: str) -> Frame:
        return await super().subscribe(destination, id, **headers)
