"""One session's way out: bounded, ordered, and never in the way of whoever writes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Payload:
    """One STOMP frame, ready for any number of sessions: the ASGI event and its size."""

    __slots__ = ("event", "size")

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self.event: dict[str, Any] = {"type": "websocket.send"}
        try:
            self.event["text"] = data.decode()
        except UnicodeDecodeError:
            self.event["bytes"] = data


class Outbox:
    """
    Queue what goes to one client, and send it as fast as its socket takes it.

    Args:
        send: The ASGI ``send`` of the session.
        max_bytes: The budget: what may wait at most.
        overflow: Called once, when the budget is exceeded; what waits is dropped.
    """

    def __init__(self, send: Send, *, max_bytes: int, overflow: Callable[[], None]) -> None:
        self._send = send
        self._max_bytes = max_bytes
        self._overflow = overflow
        self._waiting: deque[Payload | dict[str, Any]] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._closed = False
        #: Bytes that wait to be sent, and those that wait for an acknowledgement first.
        self.waiting_bytes = 0
        self.held_bytes = 0
        #: When something was last sent, in seconds of the loop's clock.
        self.last_sent = 0.0

    def write(self, payload: Payload) -> None:
        """Queue a frame; after :meth:`close` nothing happens."""
        if self._fits(payload):
            self.waiting_bytes += payload.size
            self._queue(payload)

    def hold(self, payload: Payload) -> bool:
        """
        Count a frame that waits elsewhere against the budget; return whether it fits.

        Call :meth:`release` before it is written or dropped.
        """
        fits = self._fits(payload)
        if fits:
            self.held_bytes += payload.size
        return fits

    def release(self, payload: Payload) -> None:
        """Undo :meth:`hold`."""
        self.held_bytes -= payload.size

    def close(self, last: bytes | None, code: int, reason: str) -> None:
        """Send what waits, then ``last``, then close the WebSocket."""
        if self._closed:
            return
        self._closed = True
        if last is not None:
            self._queue(Payload(last))
        self._queue({"type": "websocket.close", "code": code, "reason": reason})

    async def flushed(self) -> None:
        """Return when nothing waits any more."""
        if self._writer is not None:
            await asyncio.wait([self._writer])

    def discard(self) -> None:
        """Forget what waits: the client is gone."""
        self._closed = True
        self._waiting.clear()
        if self._writer is not None:
            self._writer.cancel()

    def _fits(self, payload: Payload) -> bool:
        if self._closed:
            return False
        if self.waiting_bytes + self.held_bytes + payload.size > self._max_bytes:
            self._waiting.clear()
            self.waiting_bytes = 0
            self._overflow()
            return False
        return True

    def _queue(self, item: Payload | dict[str, Any]) -> None:
        self._waiting.append(item)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                item = self._waiting.popleft()
                event = item if isinstance(item, dict) else item.event
                await self._send(event)
                self.last_sent = loop.time()
                if isinstance(item, Payload):
                    self.waiting_bytes = max(0, self.waiting_bytes - item.size)
        except Exception:  # the client is gone; each server says so in its own way
            self._closed = True
            self._waiting.clear()
        finally:
            self._writer = None
