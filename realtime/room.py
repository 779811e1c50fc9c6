"""Waiting until there is room for more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Room:
    """
    Lets those wait who would add to what is full.

    Args:
        full: Whether nothing more may be added.
    """

    def __init__(self, full: Callable[[], bool]) -> None:
        self._full = full
        self._waiting: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        """Return when one more may be added."""
        while self._full():
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    def look(self) -> None:
        """Let those who wait look again: there is less now."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)
