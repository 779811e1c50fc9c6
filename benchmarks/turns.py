"""
Turns: how long the event loop of a gateway takes for one, in which it hears nobody.

The monitor of the gateway itself looks twice a second, and misses most of what is shorter. This
sees every turn, so it is exact; it begins once it is asked, and costs two readings of the clock
for each.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from realtime.concurrency import per_loop


class Turns:
    """The longest turn of the running event loop, from one wait for its sockets to the next."""

    def __init__(self) -> None:
        selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        self._wait = selector.select
        self._longest = 0.0
        self._began = time.perf_counter()
        selector.select = self._select

    def take(self) -> float:
        """Return how long it took, in seconds, of those since the last call."""
        longest, self._longest = self._longest, 0.0
        return longest

    def _select(self, timeout: float | None = None) -> Any:
        self._longest = max(self._longest, time.perf_counter() - self._began)
        ready = self._wait(timeout)
        self._began = time.perf_counter()
        return ready


_turns = per_loop(Turns)


async def longest_turn(session: Any) -> str:
    """Answer with the longest turn since it was asked for last, in milliseconds."""
    return f"{_turns().take() * 1000:.3f}"
