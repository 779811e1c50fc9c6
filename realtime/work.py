"""What is under way for one session: started in order, not awaited, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any


class Work:
    """
    Things that were started and have not ended.

    Args:
        limit: With so many under way, :meth:`room` waits.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._under_way: set[asyncio.Future[Any]] = set()

    def start(self, work: Awaitable[Any]) -> asyncio.Future[Any]:
        """Let work begin, in the order of the calls; return its future."""
        future = asyncio.ensure_future(work)
        self._under_way.add(future)
        future.add_done_callback(self._ended)
        return future

    async def room(self) -> None:
        """Return when one more may be started."""
        if len(self._under_way) >= self._limit:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)

    async def ended(self) -> None:
        """Return when nothing that was under way is so any more."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    def _ended(self, future: asyncio.Future[Any]) -> None:
        self._under_way.discard(future)
        if not future.cancelled():
            future.exception()  # who started it has looked, or does not care
