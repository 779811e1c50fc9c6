"""When outboxes write: once for each turn of the loop in which they were written to."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final, Protocol

from realtime.concurrency import per_loop

logger = logging.getLogger(__name__)

#: To how many clients is written before others have their turn.
FLUSHES_PER_TURN: Final = 250


class Flushed(Protocol):
    """An outbox, as the flusher knows it."""

    def flush(self, now: float) -> None:
        """Write what waits, at ``now`` on the loop's clock."""


class Flusher:
    """Let each outbox that was written to in a turn of the loop write once, in a later one."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._outboxes: deque[Flushed] = deque()
        self._flushed: asyncio.Future[None] | None = None

    def add(self, outbox: Flushed) -> None:
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
