"""What is under way for one session: started in order, not awaited, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from realtime.concurrency import Room

#: Called with the future of work that has ended.
Done = Callable[[asyncio.Future[Any]], object]


class Work:
    """
    Things that were started and have not ended.

    Args:
        limit: With so many under way, or so many bytes, :meth:`room` waits.
    """

    def __init__(self, limit: int, max_bytes: int = 0) -> None:
        self._limit = limit
        self._max_bytes = max_bytes
        self._bytes = 0
        self._count = 0
        self._under_way: dict[asyncio.Future[Any], tuple[int, int, Done | None]] = {}
        self._room = Room(lambda: self.full)

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        """Whether nothing more may be started."""
        return self._count >= self._limit or self._bytes > self._max_bytes

    def start(
        self, work: Awaitable[Any], size: int = 0, done: Done | None = None, *, count: int = 1
    ) -> asyncio.Future[Any]:
        """
        Let work on so many bytes, and things, begin in the order of the calls; return its future,
        which ``done`` is called with when it has ended.
        """
        future = work if isinstance(work, asyncio.Future) else asyncio.ensure_future(work)
        self._under_way[future] = (count, size, done)
        self._count += count
        self._bytes += size
        future.add_done_callback(self._ended)
        return future

    async def room(self) -> None:
        """Return when one more may be started."""
        await self._room.wait()

    async def ended(self) -> None:
        """Return when nothing that was under way is so any more."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    def _ended(self, future: asyncio.Future[Any]) -> None:
        count, size, done = self._under_way.pop(future)
        self._count -= count
        self._bytes -= size
        if not future.cancelled():
            future.exception()  # who started it has looked, or does not care
        if done is not None:
            done(future)
        self._room.look()
