"""A small STOMP client over WebSocket, for tests that look at every frame."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import websockets

from realtime.stomp import Frame, FrameDecoder, encode

#: Generous: it only ends a test that would hang.
TIMEOUT = 15


class StompClient:
    """
    ::

        async with StompClient(url) as client:
            await client.subscribe("/topic/toast")
            message = await client.message()
    """

    def __init__(
        self,
        url: str,
        *,
        version: str = "1.2",
        connect: dict[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.version = version
        self._connect = {"accept-version": version, **(connect or {})}
        options.setdefault("subprotocols", [f"v{version.replace('.', '')}.stomp"])
        self._opening = websockets.connect(url, open_timeout=TIMEOUT, **options)
        self._decoder = FrameDecoder(
            max_frame_bytes=2**21, max_header_bytes=2**20, max_head_bytes=2**20
        )
        self._decoder.version = version
        self._frames: list[Frame] = []

    async def __aenter__(self) -> Self:
        self.websocket = await self._opening
        if self._connect.get("accept-version"):
            await self.send("CONNECT", self._connect)
            self.connected = await self.frame("CONNECTED")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.websocket.close()

    async def send(
        self, command: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        data = encode(Frame(command, headers or {}, body), self.version)
        try:
            await self.websocket.send(data.decode())
        except UnicodeDecodeError:
            await self.websocket.send(data)

    async def frame(self, command: str | None = None, seconds: float = TIMEOUT) -> Frame:
        """
        Return the next frame, or the next of this command; others keep their turn.

        An ERROR that nobody asked for fails the test.
        """
        async with asyncio.timeout(seconds):
            while True:
                for frame in self._frames:
                    if command in (None, frame.command):
                        self._frames.remove(frame)
                        return frame
                    assert frame.command != "ERROR", frame.headers
                data = await self.websocket.recv()
                self._decoder.receive_data(data.encode() if isinstance(data, str) else data)
                while (received := self._decoder.next_frame()) is not None:
                    self._frames.append(received)

    async def request(self, command: str, headers: dict[str, str], body: bytes = b"") -> None:
        """Send a frame and wait for its RECEIPT."""
        await self.send(command, {**headers, "receipt": "request"}, body)
        receipt = await self.frame("RECEIPT")
        assert receipt.headers["receipt-id"] == "request"

    async def subscribe(self, destination: str, id: str = "0", **headers: str) -> None:
        await self.request("SUBSCRIBE", {"destination": destination, "id": id, **headers})

    async def message(self, seconds: float = TIMEOUT) -> Frame:
        return await self.frame("MESSAGE", seconds)

    def waiting(self, command: str) -> int:
        """Return how many frames of this command have come and were not taken."""
        return sum(frame.command == command for frame in self._frames)

    def acknowledgement(self, message: Frame) -> dict[str, str]:
        """Return the headers with which this version acknowledges a MESSAGE."""
        if self.version == "1.2":
            return {"id": message.headers["ack"]}
        headers = {"message-id": message.headers["message-id"]}
        if self.version == "1.1":
            headers["subscription"] = message.headers["subscription"]
        return headers

    async def close_code(self) -> int:
        """Wait for the close and return its code."""
        async with asyncio.timeout(TIMEOUT):
            await self.websocket.wait_closed()
        code = self.websocket.close_code
        assert code is not None
        return code
