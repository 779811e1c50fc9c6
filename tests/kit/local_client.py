"""LocalClient, as our own tests have it: against the consumer alone, and with rows of sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from realtime.consumers import StompConsumer
from realtime.stomp import Frame, encode
from realtime.testing import local
from realtime.testing.client import TIMEOUT

#: A node lives for the time of a test, and operators see it.
local_node = partial(local.local_node, rows=True)


class LocalClient(local.LocalClient):
    """
    ::

        async with local_client() as client:
            await client.request("SUBSCRIBE", {"id": "0", "destination": "/topic/a"})
            message = await client.frame("MESSAGE")
    """

    def __init__(self, path: str = "/stomp", **http: str) -> None:
        super().__init__(path, StompConsumer.as_asgi(), **http)

    async def send_bytes(self, command: str, headers: dict[str, str], body: bytes) -> None:
        """Send a frame as a binary message, whatever its body is."""
        await self.socket.send_to(bytes_data=encode(Frame(command, headers, body), "1.2"))

    async def subscribe(self, destination: str, id: str | None = "0", **headers: str) -> Frame:
        return await super().subscribe(destination, id, **headers)


@asynccontextmanager
async def local_client(**headers: str) -> AsyncIterator[LocalClient]:
    """Yield a client that is connected."""
    client = LocalClient()
    connected = await client.connect(**headers)
    assert connected.command == "CONNECTED", connected
    try:
        yield client
    finally:
        await client.socket.disconnect()


async def until(condition: Any) -> None:
    """Return when a condition holds."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.005)
