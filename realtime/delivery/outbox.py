"""Outbox: one session's way out, bounded, ordered, and never in the way of whoever writes."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from realtime.concurrency import nothing, per_loop
from realtime.stomp import TooSlow

from .frames import Frames, in_websocket_frame

#: The key of ASGI's ``websocket.accept`` under which a session offers :meth:`Outbox.attach`.
ATTACH: Final = "realtime.attach"

logger = logging.getLogger(__name__)

#: How much goes to the transport in one write.
WRITE_BYTES: Final = 64 * 1024

#: Seconds that a client who was too slow has to take the close.
CLOSE_SECONDS: Final = 2.0

#: A client is shown as slow if so many bytes wait for it, or if it took nothing for so long.
SLOW_BYTES: Final = 64 * 1024
SLOW_SECONDS: Final = 1.0

#: To how many clients is written before others have their turn.
FLUSHES_PER_TURN: Final = 250

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Transport(Protocol):
    """What a server offers that lets an outbox write at once, instead of through ``send``."""

    #: Called when all that was written has left.
    resume: Callable[[], None] | None

    def write(self, data: bytes) -> bool:
        """Take whole WebSocket frames; return False if the client is to be waited for."""

    @property
    def buffered(self) -> int:
        """How many bytes have not left."""


class Source(Protocol):
    """What keeps frames back while the client is slow, and gives them when it is not."""

    def take(self) -> Frames | None:
        """Return the next frames to write, or None if there are none."""


class Outbox:
    """
    Queue what goes to one client, and send it as fast as its socket takes it.

    What is written in one turn of the loop leaves in one write. Where the server offers no
    :class:`Transport`, a task awaits ``send`` for each frame.

    Args:
        send: The ASGI ``send`` of the session.
        max_bytes: The budget: what may wait at most.
        max_seconds: How long what waits may make no progress.
        failed: Called with what is to be said when the client is too slow: then :meth:`close`.
        watch: Called when the client has to be waited for: then :meth:`check_progress`.
        abandon: Called when not even the close can be sent.
    """

    __slots__ = (
        "_abandon",
        "_closed",
        "_ended",
        "_failed",
        "_flusher",
        "_last",
        "_max_bytes",
        "_max_seconds",
        "_progress",
        "_send",
        "_sources",
        "_task",
        "_transport",
        "_waiting",
        "_watch",
        "binary",
        "blocked",
        "held_bytes",
        "last_sent",
        "messages",
        "waiting_bytes",
    )

    def __init__(
        self,
        send: Send,
        *,
        max_bytes: int,
        max_seconds: float,
        failed: Callable[[TooSlow], None],
        watch: Callable[[], None],
        abandon: Callable[[], None],
    ) -> None:
        self._send = send
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._failed = failed
        self._watch = watch
        self._abandon = abandon
        self._flusher = this_flusher()
        self._transport: Transport | None = None
        self._waiting: list[Frames] = []  # a deque has 0.7 KiB when it is empty
        self._sources: dict[Source, None] = {}
        #: Whether the client speaks in binary messages, and is answered so; None until it speaks.
        self.binary: bool | None = None
        #: Whether the client has to be waited for.
        self.blocked = False
        #: Bytes that wait to be sent, and those that wait for an acknowledgement first.
        self.waiting_bytes = 0
        self.held_bytes = 0
        #: MESSAGE frames that were written.
        self.messages = 0
        #: When something was last sent, in seconds of the loop's clock.
        self.last_sent = 0.0
        self._closed = False
        self._last: dict[str, Any] | None = None  # the event that closes the WebSocket
        self._ended = False  # it was sent
        #: When the client took something, and how many bytes were buffered then.
        self._progress = (0.0, 0)
        self._task: asyncio.Task[None] | None = None  # awaits ``send``

    @property
    def unsent_bytes(self) -> int:
        """How many bytes wait for the client, also those that the transport has taken."""
        buffered = self._transport.buffered if self._transport is not None else 0
        return self.waiting_bytes + self.held_bytes + buffered

    def is_slow(self, now: float) -> bool:
        """Whether the client reads more slowly than messages come: much waits, or for long."""
        if not self.blocked or self._ended:
            return False
        return self.unsent_bytes >= SLOW_BYTES or now - self._progress[0] >= SLOW_SECONDS

    def attach(self, transport: Transport) -> None:
        """Write to a transport from now on; the server calls this when the WebSocket is open."""
        self._transport = transport
        transport.resume = self._resume
        self._schedule()

    def write(self, frames: Frames) -> None:
        """Queue frames; after :meth:`close` nothing happens."""
        size = self.waiting_bytes + frames.size
        if size + self.held_bytes > self._max_bytes or self._closed:
            self._overflow()
            return
        self.waiting_bytes = size
        if frames.messages:
            self.messages += frames.count
        waiting = self._waiting
        waiting.append(frames)
        if len(waiting) == 1 and not self.blocked:
            self._flusher.add(self)

    deliver = write  # by the name that queues have for it

    def hold(self, frames: Frames) -> bool:
        """
        Count what waits elsewhere against the budget; return whether it fits.

        Call :meth:`release` before it is written or dropped.
        """
        if not self.fits(frames.size):
            self._overflow()
            return False
        self.held_bytes += frames.size
        return True

    def fits(self, size: int, share: float = 1.0) -> bool:
        """Return whether so many bytes more are within the budget, or a share of it."""
        waiting = self.waiting_bytes + self.held_bytes
        return not self._closed and waiting + size <= self._max_bytes * share

    def release(self, frames: Frames) -> None:
        """Undo :meth:`hold`."""
        self.held_bytes -= frames.size

    def add_source(self, source: Source) -> None:
        """Take frames from a source once the client can be written to."""
        self._sources[source] = None
        if not self.blocked:
            self._schedule()

    def remove_source(self, source: Source) -> None:
        """Forget a source."""
        self._sources.pop(source, None)

    def close(self, last: bytes | None, code: int, reason: str, *, at_once: bool = False) -> None:
        """
        Send what waits, then ``last``, then close the WebSocket.

        ``at_once`` drops what waits and does not wait for the client.
        """
        if self._ended or (self._closed and not at_once):
            return
        self._closed = True
        self._sources.clear()
        if at_once:
            self._drop_all()
        if last is not None:
            self._waiting.append(Frames((in_websocket_frame(last, bool(self.binary)),)))
        self._last = {"type": "websocket.close", "code": code, "reason": reason}
        self._schedule()

    async def flushed(self) -> None:
        """Return when nothing waits any more."""
        while (self._waiting or self._last is not None) and not self.blocked:
            if self._task is not None:
                await asyncio.wait([self._task])
            else:
                await asyncio.sleep(0)
        if self._task is not None:
            await asyncio.wait([self._task])

    def discard(self) -> None:
        """Forget what waits: the client is gone."""
        self._closed = self._ended = True
        self._waiting.clear()
        self._sources.clear()
        self._last = None
        if self._task is not None:
            self._task.cancel()
        self._failed = self._watch = self._abandon = nothing  # or it would hold its session

    def check_progress(self, now: float) -> float:
        """
        Return when to look again whether the client reads.

        Raises:
            TooSlow: If what waits made no progress for too long.
        """
        if not self.blocked or self._ended:
            return float("inf")
        since, buffered = self._progress
        if self._transport is not None and self._transport.buffered != buffered:
            self._block(now, self._transport.buffered)
        elif now - since >= self._max_seconds:
            raise _too_slow()
        return now

    def flush(self, now: float) -> None:
        """Write what waits, as far as the client takes it; the flusher calls."""
        self.last_sent = now
        transport, waiting = self._transport, self._waiting
        if transport is None:
            if self._task is None and (waiting or self._sources or self._last):
                self._task = asyncio.create_task(self._send_all())
            return
        while (waiting or self._sources) and not self.blocked:
            if len(waiting) == 1 and not self._sources:  # most are: a shorter way to the same
                self.waiting_bytes = 0
                data = waiting.pop().joined
            else:
                data = self._next_write()
            if data and not transport.write(data):
                self._block(now, transport.buffered)
        if self._last is not None and not self._waiting and self._task is None:
            self._task = asyncio.create_task(self._send_all())

    def _next_write(self) -> bytes:
        """Return the frames of the next write, taken from what waits."""
        waiting = self._waiting
        count = size = 0
        while count < len(waiting) and size < WRITE_BYTES:
            size += waiting[count].size
            count += 1
        data = [frames.joined for frames in self._take(count, size)]
        while size < WRITE_BYTES and (taken := self._next_of_sources()) is not None:
            data.append(taken.joined)
            size += taken.size
        return b"".join(data)

    def _take(self, count: int, size: int) -> list[Frames]:
        """Return the first that wait, so many bytes; at once, for each time moves all others."""
        taken = self._waiting[:count]
        del self._waiting[:count]
        self.waiting_bytes = max(0, self.waiting_bytes - size)
        return taken

    def _next(self) -> Frames | None:
        if self._waiting:
            (frames,) = self._take(1, self._waiting[0].size)
            return frames
        return self._next_of_sources()

    def _next_of_sources(self) -> Frames | None:
        while self._sources:
            source = next(iter(self._sources))
            taken = source.take()
            if taken is not None:
                return taken
            del self._sources[source]
        return None

    def _schedule(self) -> None:
        if not self.blocked:
            self._flusher.add(self)

    def _block(self, now: float, buffered: int) -> None:
        self.blocked = True
        self._progress = now, buffered
        self._watch()

    def _resume(self) -> None:
        self.blocked = False
        self._schedule()

    def _drop_all(self) -> None:
        self._waiting.clear()
        self.waiting_bytes = 0
        self.blocked = False
        if self._task is not None:  # it is in ``send``, and may never return
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if not self._ended:
            self._abandon()

    def _overflow(self) -> None:
        if not self._closed:
            self._failed(_too_slow())

    async def _send_all(self) -> None:
        """Await ``send`` for each frame that waits, and for the close."""
        loop = asyncio.get_running_loop()
        try:
            while (frames := self._next()) is not None:
                if frames.count > 1:
                    self._waiting[:0] = frames.one_by_one()
                    self.waiting_bytes += frames.size
                    continue
                for event in frames.events():
                    self._block(loop.time(), 0)
                    await self._send(event)
                    self.blocked = False
                    self.last_sent = loop.time()
            if self._last is not None:
                last, self._last = self._last, None
                self._ended = True
                await self._send(last)
        except Exception:  # the client is gone; each server says so in its own way
            self._closed = True
            self._waiting.clear()
            self._sources.clear()
        finally:
            self._task = None
            self.blocked = False


class Direct:
    """Nothing in between: the outbox takes frames at once. Most subscriptions have this."""

    __slots__ = ("deliver", "outbox")

    waiting = 0

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.deliver = outbox.deliver

    def discard(self) -> None:
        """Do nothing: nothing waits here."""


def _too_slow() -> TooSlow:
    return TooSlow("this client reads too slowly: reconnect", code="too-slow")


class Flusher:
    """Let each outbox that was written to in a turn of the loop write once, in a later one."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._outboxes: deque[Outbox] = deque()
        self._flushed: asyncio.Future[None] | None = None

    def add(self, outbox: Outbox) -> None:
        """Flush an outbox soon."""
        if not self._outboxes:
            self._loop.call_soon(self._flush)
        self._outboxes.append(outbox)

    def flushed(self) -> asyncio.Future[None]:
        """Return what ends when nothing is left to flush."""
        if self._flushed is None:
            self._flushed = self._loop.create_future()
            if not self._outboxes:
                self._loop.call_soon(self._flush)
        return self._flushed

    def _flush(self) -> None:
        outboxes = self._outboxes
        now = self._loop.time()
        for _ in range(min(len(outboxes), FLUSHES_PER_TURN)):
            try:
                outboxes.popleft().flush(now)
            except Exception:  # others must not notice
                logger.exception("could not write to a client")
        if outboxes:
            self._loop.call_soon(self._flush)
        elif self._flushed is not None:
            self._flushed.set_result(None)
            self._flushed = None


#: Return the flusher of this event loop.
this_flusher: Final = per_loop(Flusher)
