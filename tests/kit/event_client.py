"""A small client of server-sent events over HTTP/1.1, for tests that look at every event."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from tests.kit.clients import TIMEOUT


@dataclass(frozen=True)
class Event:
    """An event as the HTML standard dispatches it; ``id`` is the last that was said."""

    type: str
    data: str
    id: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class EventClient:
    """
    ::

        async with EventClient(gateway.url, "/topic/a", "/topic/b") as client:
            assert client.status == 200
            event = await client.message()
    """

    def __init__(
        self, url: str, *topics: str, method: str = "GET", query: str | None = None,
        path: str = "/api/events", deaf: bool = False, **headers: str,
    ) -> None:  # fmt: skip
        self._address = urlsplit(url)
        query = urlencode([("topic", topic) for topic in topics]) if query is None else query
        headers = {"host": self._address.netloc, "accept": "text/event-stream"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        lines = [f"{method} {path}?{query} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items())]
        self._request = "\r\n".join([*lines, "", ""]).encode()
        self._deaf = deaf
        self._lines: list[bytes] = []
        self._rest = b""
        self.last_id = ""
        self.retry = 0
        self.comments = 0

    async def __aenter__(self) -> Self:
        connection = socket.socket()
        if self._deaf:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024)
        connection.connect(("127.0.0.1", self._address.port))
        limit = 8 * 1024 if self._deaf else 2**20
        self._reader, self._writer = await asyncio.open_connection(sock=connection, limit=limit)
        self._writer.write(self._request)
        async with asyncio.timeout(TIMEOUT):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.status = int(head[0].split()[1])
        self.headers = {
            name.lower(): value
            for name, _, value in (line.partition(": ") for line in head[1:] if line)
        }
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writer.transport.abort()

    async def body(self) -> bytes:
        """Return the body of an answer that is no stream."""
        async with asyncio.timeout(TIMEOUT):
            return await self._reader.readexactly(int(self.headers["content-length"]))

    async def event(self, seconds: float = TIMEOUT) -> Event:
        """
        Return the next event.

        Raises:
            EOFError: If the stream ended; :attr:`whole` says how.
        """
        async with asyncio.timeout(seconds):
            return await self._event()

    async def message(self, seconds: float = TIMEOUT) -> Event:
        """Return the next event, which has to be a message."""
        event = await self.event(seconds)
        assert event.type == "message", event
        return event

    async def subscribed(self) -> Event:
        event = await self.event()
        assert event.type == "subscribed", event
        return event

    async def _event(self) -> Event:
        kind, data = "message", []
        while True:
            name, _, value = (line := (await self._line()).decode()).partition(": ")
            if name == "id":
                self.last_id = value
            elif name == "retry":
                self.retry = int(value)
            elif name == "event":
                kind = value
            elif name == "data":
                data.append(value)
            elif line.startswith(":"):
                self.comments += 1
            elif line == "" and data:
                return Event(kind, "\n".join(data), self.last_id)

    async def _line(self) -> bytes:
        while b"\n" not in self._rest:
            self._rest += await self._chunk()
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    async def _chunk(self) -> bytes:
        try:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            chunk = (await self._reader.readexactly(size + 2))[:-2]
        except (asyncio.IncompleteReadError, ConnectionError):
            raise EOFError("cut off") from None
        if not chunk:
            raise EOFError("ended")
        return chunk
