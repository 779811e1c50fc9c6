"""What is under way for one session: started in order, not awaited, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any


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
        self._under_way: dict[asyncio.Future[Any], int] = {}

    def start(self, work: Awaitable[Any], size: int = 0) -> asyncio.Future[Any]:
        """Let work on so many bytes begin, in the order of the calls; return its future."""
        future = asyncio.ensure_future(work)
        self._under_way[future] = size
        self._bytes += size
        future.add_done_callback(self._ended)
        return future

    async def room(self) -> None:
        """Return when one more may be started."""
        while len(self._under_way) >= self._limit or self._bytes > self._max_bytes:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)

    async def ended(self) -> None:
        """Return when nothing that was under way is so any more."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    def _ended(self, future: asyncio.Future[Any]) -> None:
        self._bytes -= self._under_way.pop(future)
        if not future.cancelled():
            future.exception()  # who started it has looked, or does not care
