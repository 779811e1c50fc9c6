"""LocalClient: a STOMP client in the process of the test, through Channels' communicator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator

from realtime.consumers import StompConsumer
from realtime.sessions.node import this_node
from realtime.stomp import Frame, FrameDecoder, encode

#: Generous: it only ends a test that would hang.
TIMEOUT = 15


class LocalClient:
    """
    ::

        async with local_client() as client:
            await client.request("SUBSCRIBE", {"id": "0", "destination": "/topic/a"})
            message = await client.frame("MESSAGE")
    """

    def __init__(self, path: str = "/stomp", **headers: str) -> None:
        scope_headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self.socket = WebsocketCommunicator(
            StompConsumer.as_asgi(), path, scope_headers, ["v12.stomp", "chat"]
        )
        self._decoder = FrameDecoder()
        self._frames: list[Frame] = []

    async def connect(self, **headers: str) -> Frame:
        """Open the WebSocket and CONNECT; return CONNECTED, or ERROR."""
        opened, subprotocol = await self.socket.connect(TIMEOUT)
        assert (opened, subprotocol) == (True, "v12.stomp")
        await self.send("CONNECT", {"accept-version": "1.2", **headers})
        return await self.frame()

    async def send(self, command: str, headers: dict[str, str], body: bytes = b"") -> None:
        await self.write(encode(Frame(command, headers, body), "1.2"))

    async def send_bytes(self, command: str, headers: dict[str, str], body: bytes) -> None:
        """Send a frame as a binary message: its body may be no UTF-8."""
        await self.socket.send_to(bytes_data=encode(Frame(command, headers, body), "1.2"))

    async def write(self, data: bytes) -> None:
        await self.socket.send_to(text_data=data.decode())

    async def request(self, command: str, headers: dict[str, str], body: bytes = b"") -> Frame:
        """Send a frame and return its RECEIPT."""
        await self.send(command, {**headers, "receipt": "r"}, body)
        receipt = await self.frame("RECEIPT")
        assert receipt.headers["receipt-id"] == "r"
        return receipt

    async def subscribe(self, destination: str, id: str = "0", **headers: str) -> Frame:
        return await self.request("SUBSCRIBE", {"destination": destination, "id": id, **headers})

    async def frame(self, command: str | None = None) -> Frame:
        """
        Return the next frame, or the next of this command; others keep their turn.

        An ERROR that nobody asked for fails the test.
        """
        while True:
            for frame in self._frames:
                if command in (None, frame.command):
                    self._frames.remove(frame)
                    return frame
                assert frame.command != "ERROR", frame.headers
            self._frames += await self._receive()

    async def _receive(self) -> list[Frame]:
        event = await self.socket.receive_output(TIMEOUT)
        assert event["type"] == "websocket.send", event
        self._decoder.receive_data(event["text"].encode() if "text" in event else event["bytes"])
        return list(iter(self._decoder.next_frame, None))

    async def close(self) -> dict[str, Any]:
        """Return how the session closes the WebSocket."""
        event: dict[str, Any] = await self.socket.receive_output(TIMEOUT)
        assert event["type"] == "websocket.close", event
        return event

    async def error(self) -> tuple[str, int]:
        """Return the code of the ERROR that ends the session, and that of the close."""
        frame = await self.frame("ERROR")
        return frame.headers["code"], (await self.close())["code"]


@asynccontextmanager
async def local_client(**headers: str) -> AsyncIterator[LocalClient]:
    """Yield a client that is connected."""
    client = LocalClient()
    connected = await client.connect(**headers)
    assert connected.command == "CONNECTED", connected
    try:
        yield client
    finally:
        await client.socket.disconnect(timeout=TIMEOUT)


@asynccontextmanager
async def local_node() -> AsyncIterator[None]:
    """Let a node live for the time of a test."""
    try:
        yield
    finally:
        await this_node().close()
        await get_channel_layer().flush()


async def until(condition: Any) -> None:
    """Return when a condition holds."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.005)
