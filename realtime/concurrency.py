"""
Concurrency: what is in flight and who waits for it, one object for each event loop, and
synchronous code on threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from django.db import close_old_connections

T = TypeVar("T")


#: Called with the future of something that has ended.
Done = Callable[[asyncio.Future[Any]], object]


class Backpressure:
    """
    Let those wait who would add to what is full.

    Args:
        full: Whether nothing more may be added.
    """

    def __init__(self, full: Callable[[], bool]) -> None:
        self._full = full
        #: Who waits; with nobody there :meth:`release` need not be called.
        self.waiting: list[asyncio.Future[None]] = []

    async def ready(self) -> None:
        """Return when one more may be added."""
        while self._full():
            waiter = asyncio.get_running_loop().create_future()
            self.waiting.append(waiter)
            await waiter

    def release(self) -> None:
        """Let those who wait look again: there is less now."""
        waiting, self.waiting = self.waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


class InFlight:
    """
    Things that were started and have not ended.

    Args:
        limit: With so many in flight, or so many bytes, :meth:`ready` waits.
    """

    def __init__(self, limit: int, max_bytes: int = 0) -> None:
        self._limit = limit
        self._max_bytes = max_bytes
        self._bytes = 0
        self._count = 0
        self._futures: dict[asyncio.Future[Any], tuple[int, int, Done]] = {}
        self._backpressure = Backpressure(lambda: self.full)

    def __bool__(self) -> bool:
        return bool(self._futures)

    @property
    def full(self) -> bool:
        """Whether nothing more may be started."""
        return self._count >= self._limit or self._bytes > self._max_bytes

    def start(
        self, work: Awaitable[Any], done: Done, *, size: int = 0, count: int = 1
    ) -> asyncio.Future[Any]:
        """
        Let work on so many bytes, and things, begin in the order of the calls; return its future,
        which ``done`` is called with when it has ended.
        """
        future = work if isinstance(work, asyncio.Future) else asyncio.ensure_future(work)
        self._futures[future] = (count, size, done)
        self._count += count
        self._bytes += size
        future.add_done_callback(self._ended)
        return future

    async def ready(self) -> None:
        """Return when one more may be started."""
        await self._backpressure.ready()

    async def ended(self) -> None:
        """Return when nothing is in flight any more."""
        if self._futures:
            await asyncio.wait(self._futures)

    def _ended(self, future: asyncio.Future[Any]) -> None:
        count, size, done = self._futures.pop(future)
        self._count -= count
        self._bytes -= size
        if not future.cancelled():
            future.exception()  # who started it looks, or does not care
            done(future)
        if self._backpressure.waiting:
            self._backpressure.release()


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
