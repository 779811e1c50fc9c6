"""Honest: clients that listen, one that publishes, some that log in; all are measured."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

from .site import Site
from .wire import HOST, PATIENCE, Refused, WebSocket, open_stomp, stomp

TOPIC: Final = "/topic/honest"

#: Messages a second.
RATE: Final = 10

#: Seconds between two logins.
LOGIN_SECONDS: Final = 1.0

#: Seconds of a nap after which it is looked whether this process itself was held up.
NAP: Final = 0.01


class Client:
    """One client: how late each message was, and what was wrong."""

    def __init__(self) -> None:
        self.waits: dict[int, float] = {}
        self.last = 0
        self.faults: list[str] = []
        self._websocket: WebSocket | None = None

    async def start(self, site: Site) -> None:
        self._websocket, inbox = await open_stomp(site.port, HOST, site.honest)
        headers = {"id": "0", "destination": TOPIC, "receipt": "heard"}
        self._websocket.send(stomp("SUBSCRIBE", headers))
        await inbox.get()
        self._websocket.heard = self._hear
        self._websocket.ended.add_done_callback(lambda _: self._ended())

    def stop(self) -> None:
        if self._websocket is not None and not self._websocket.ended.done():
            websocket, self._websocket = self._websocket, None
            websocket.transport.abort()

    def _hear(self, payload: bytes) -> None:
        if not payload.startswith(b"MESSAGE"):
            self.faults.append(f"got {payload[:200]!r}")
            return
        number, due = payload[payload.index(b"\n\n") + 2 : -1].split()
        self.waits[int(number)] = time.monotonic() - float(due)
        if int(number) != self.last + 1:
            self.faults.append(f"{int(number)} came after {self.last}")
        self.last = int(number)

    def _ended(self) -> None:
        if self._websocket is not None:
            self.faults.append(f"was cut off: {self._websocket.code}")


class Honest:
    """All of them, while the context lasts."""

    def __init__(self, site: Site, clients: int) -> None:
        self._site = site
        self.clients = [Client() for _ in range(clients)]
        #: When each message was due.
        self.published: list[float] = []
        #: When each login began, and how many seconds it took.
        self.logins: list[tuple[float, float]] = []
        #: When this process was held up itself, and for how many seconds.
        self.naps: list[tuple[float, float]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._trying: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Honest:
        for client in self.clients:
            await client.start(self._site)
        work = (self._publish(), self._log_in_again_and_again(), self._nap())
        self._tasks = [asyncio.create_task(each) for each in work]
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in [*self._tasks, *self._trying]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._trying, return_exceptions=True)
        for client in self.clients:
            client.stop()
        await asyncio.sleep(NAP)  # until they are gone

    async def caught_up(self, seconds: float) -> None:
        """Wait until everybody has what is published by now, but not for longer than that."""
        number = len(self.published)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while any(client.last < number for client in self.clients) or self._trying:
                    await asyncio.sleep(NAP)

    async def _publish(self) -> None:
        websocket, _ = await open_stomp(self._site.port, HOST, self._site.honest)
        due = time.monotonic()
        async with websocket:
            while True:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                self.published.append(due)
                body = f"{len(self.published)} {due!r}".encode()
                websocket.send(stomp("SEND", {"destination": TOPIC}, body))
                due += 1 / RATE

    async def _log_in_again_and_again(self) -> None:
        while True:
            task = asyncio.create_task(self._log_in())
            self._trying.add(task)
            task.add_done_callback(self._trying.discard)
            await asyncio.sleep(LOGIN_SECONDS)

    async def _log_in(self) -> None:
        """Log in with a token, over a new connection."""
        began, seconds = time.monotonic(), float("inf")
        try:
            async with asyncio.timeout(PATIENCE):
                websocket, _ = await open_stomp(self._site.port, HOST, self._site.honest)
            seconds = time.monotonic() - began
            websocket.transport.abort()
        except (OSError, Refused, TimeoutError):
            pass
        self.logins.append((began, seconds))

    async def _nap(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(NAP)
            self.naps.append((began, time.monotonic() - began - NAP))
