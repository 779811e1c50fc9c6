"""Waiting until there is room for more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from django.db import close_old_connections

T = TypeVar("T")


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


def per_loop(factory: Callable[..., T]) -> Callable[..., T]:
    """Make a function return the same object to everyone on one event loop."""
    made: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, T]] = WeakKeyDictionary()

    def of_this_loop(*args: Any) -> T:
        here = made.setdefault(asyncio.get_running_loop(), {})
        if args not in here:
            here[args] = factory(*args)
        return here[args]

    return of_this_loop


#: Channels' ``database_sync_to_async`` shares one thread with all else: a slow query of one
#: client would hold up every other.
_threads: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="realtime-database")


async def in_thread(
    function: Callable[..., T], *args: Any, threads: ThreadPoolExecutor = _threads
) -> T:
    """Call a synchronous function that may use the ORM; return what it returns."""

    def call() -> T:
        close_old_connections()
        try:
            return function(*args)
        finally:
            close_old_connections()

    return await asyncio.get_running_loop().run_in_executor(threads, call)
