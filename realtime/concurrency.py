"""
Concurrency: what is in flight and who waits for it, one object for each event loop, and
synchronous code on threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary

from django.db import close_old_connections, connections

T = TypeVar("T")
Item = TypeVar("Item")


def nothing(*_: Any) -> None:
    """Do nothing, in the place of a callback that nobody needs any more."""


#: Called with the future of something that has ended.
Done = Callable[[asyncio.Future[Any]], object]


class Backpressure:
    """Let those wait who would add to what is full."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        #: Who waits; with nobody there :meth:`release` need not be called.
        self.waiting: list[asyncio.Future[None]] = []

    @property
    def full(self) -> bool:
        """Whether nothing more may be added."""
        raise NotImplementedError

    async def ready(self) -> None:
        """Return when one more may be added."""
        while self.full:
            waiter = asyncio.get_running_loop().create_future()
            self.waiting.append(waiter)
            await waiter

    def release(self) -> None:
        """Let those who wait look again: there is less now."""
        waiting, self.waiting = self.waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


class InFlight(Backpressure):
    """
    Things that were started and have not ended.

    Args:
        limit: With so many in flight, or so many bytes, :meth:`ready` waits.
    """

    __slots__ = ("_bytes", "_count", "_futures", "_limit", "_max_bytes")

    def __init__(self, limit: int, max_bytes: int = 0) -> None:
        super().__init__()
        self._limit = limit
        self._max_bytes = max_bytes
        self._bytes = 0
        self._count = 0
        self._futures: dict[asyncio.Future[Any], tuple[int, int, Done]] = {}

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
        if self.waiting:
            self.release()


class PerLoop(Generic[T]):
    """
    A function that returns the same object to everyone on one event loop.

    Args:
        factory: Makes it, when it is first asked for; and another one for other arguments.
    """

    def __init__(self, factory: Callable[..., T]) -> None:
        self._factory = factory
        self._made: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, T]]
        self._made = WeakKeyDictionary()

    def __call__(self, *args: Any) -> T:
        here = self._made.setdefault(asyncio.get_running_loop(), {})
        if args not in here:
            here[args] = self._factory(*args)
        return here[args]

    def forget(self) -> None:
        """Let it be made anew on this loop: what was made has ended, and the loop goes on."""
        self._made.pop(asyncio.get_running_loop(), None)


def per_loop(factory: Callable[..., T]) -> PerLoop[T]:
    """Make a function return the same object to everyone on one event loop."""
    return PerLoop(factory)


#: Seconds that a thread keeps a connection to the database, if no ``CONN_MAX_AGE`` is set.
CONNECTION_SECONDS: Final = 60


def check_cancelled() -> None:
    """Raise the CancelledError that redis-py drops when it comes in the middle of connecting."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def keep_connections() -> None:
    """
    Let this thread keep its connections to the database, as one may that lives on.

    ``CONN_MAX_AGE`` for all of the project would not do: under ASGI Django has a thread for each
    request, with which a connection stays behind.
    """
    keep = {"CONN_MAX_AGE": CONNECTION_SECONDS, "CONN_HEALTH_CHECKS": True}
    for connection in connections.all():
        own = connection.settings_dict
        if own["CONN_MAX_AGE"] == 0 and not own["OPTIONS"].get("pool"):
            connection.settings_dict = own | keep


#: Channels' ``database_sync_to_async`` shares one thread with all else: a slow query of one
#: client would hold up every other.
_threads: Final = ThreadPoolExecutor(
    max_workers=4, thread_name_prefix="realtime-database", initializer=keep_connections
)


async def in_thread(
    function: Callable[..., T], *args: Any, threads: ThreadPoolExecutor = _threads
) -> T:
    """Call a synchronous function that may use the ORM; return what it returns."""

    call = partial(with_connection, function, *args)
    return await asyncio.get_running_loop().run_in_executor(threads, call)


def with_connection(function: Callable[..., T], *args: Any) -> T:
    """Call a function in a thread that lives on, with a connection to the database that works."""
    close_old_connections()
    try:
        return function(*args)
    except StopIteration as error:  # which asyncio's futures do not take: who waits would forever
        raise RuntimeError(f"{function!r:.80} raised StopIteration") from error
    finally:
        close_old_connections()


class Busy(Exception):
    """So much waits for :class:`FairThreads` that more would wait for too long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"busy for about {seconds:.0f} s")
        #: After about so many seconds it is worth another try.
        self.seconds = seconds


#: So much of what waits is done together at most: see :meth:`FairThreads.run_together`.
MAX_TOGETHER: Final = 200


class FairThreads:
    """
    A few threads for what is dear, and a bounded queue before them in which all have their turn.

    Whoever asks has a key, an address for example, and each key its own line: the first of each
    line comes before the second of any. Where the queue is full the last of the longest line makes
    room for who has a shorter one: few can't fill it. What is cancelled leaves the queue. The
    threads are nicer than the others, so that the event loop goes on while they work.

    Args:
        threads: How many.
        limit: How much may wait.
        limit_of_one: How much may wait for one key.
        name: Of the threads.
    """

    def __init__(self, threads: int, *, limit: int, limit_of_one: int, name: str) -> None:
        self._threads = threads
        self._limit = limit
        self._limit_of_one = limit_of_one
        self._name = name
        self._lines: dict[Hashable, deque[_Job]] = {}
        self._waiting = 0
        self._working = 0
        self._started = 0
        self._seconds = 0.2  # that one takes, about
        self._changed = threading.Condition()

    async def run(self, key: Hashable, function: Callable[..., T], *args: Any) -> T:
        """
        Call a function that may use the ORM; return what it returns.

        Raises:
            Busy: If too much waits.
        """
        return await asyncio.wrap_future(self.submit(key, function, *args))

    async def run_together(
        self, key: Hashable, function: Callable[[list[Item]], Sequence[T | Exception]], item: Item
    ) -> T:
        """
        Call a function with this item and those whose turn comes next for the same function, as one
        query of the database can be for all; return, or raise, what it returns in this one's place.

        Raises:
            Busy: If too much waits.
        """
        return await asyncio.wrap_future(self._queue(key, _Job(function, item)))

    def submit(self, key: Hashable, function: Callable[..., T], *args: Any) -> Future[T]:
        """
        Do the same from any thread; cancel the future when nobody waits for it any more.

        Raises:
            Busy: If too much waits.
        """
        return self._queue(key, _Job(_each, partial(function, *args), alone=True))

    def _queue(self, key: Hashable, job: _Job) -> Future[Any]:
        with self._changed:
            waits = len(self._lines.get(key, ()))
            if waits >= self._limit_of_one:
                raise self._busy()
            if self._waiting >= self._limit and not self._makes_room(waits + 1):
                raise self._busy()
            self._lines.setdefault(key, deque()).append(job)
            self._waiting += 1
            if self._working + self._waiting > self._started and self._started < self._threads:
                self._started += 1
                threading.Thread(
                    target=self._work, name=f"{self._name}-{self._started}", daemon=True
                ).start()
            self._changed.notify()
        job.future.add_done_callback(partial(self._left, key, job))
        return job.future

    def _busy(self) -> Busy:
        return Busy(max(1.0, self._waiting * self._seconds / self._threads))

    def _makes_room(self, length: int) -> bool:
        """Refuse the last of the longest line, if it is longer than another one will be."""
        longest = max(self._lines.values(), key=len)
        if len(longest) <= length:
            return False
        last = longest.pop()
        self._waiting -= 1
        with contextlib.suppress(InvalidStateError):  # it is about to leave by itself
            last.future.set_exception(self._busy())
        return True

    def _left(self, key: Hashable, job: _Job, future: Future[Any]) -> None:
        """Take what was cancelled out of its line."""
        if not future.cancelled():
            return
        with self._changed:
            line = self._lines.get(key)
            if line is not None and job in line:
                line.remove(job)
                self._waiting -= 1
                if not line:
                    del self._lines[key]

    def _next(self) -> list[_Job]:
        """Wait for the next job, and those that can be done with it."""
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            jobs = [self._first()]
            while len(jobs) < MAX_TOGETHER and self._waiting and self._goes_with(jobs[0]):
                jobs.append(self._first())
            self._working += 1
            return jobs

    def _goes_with(self, job: _Job) -> bool:
        """Return whether what is next can be done with a job."""
        following = next(iter(self._lines.values()))[0]
        return not job.alone and not following.alone and following.function == job.function

    def _first(self) -> _Job:
        """Take the first in the line whose turn it is."""
        key = next(iter(self._lines))
        line = self._lines.pop(key)
        job = line.popleft()
        if line:
            self._lines[key] = line  # behind the others
        self._waiting -= 1
        return job

    def _work(self) -> None:
        _be_nice()
        keep_connections()
        while True:
            jobs = self._next()
            seconds = _do(jobs)
            del jobs  # what they were called with is nobody's to keep
            with self._changed:
                self._working -= 1
                if seconds is not None:
                    self._seconds += (seconds - self._seconds) / 8


class _Job:
    """An item that waits for a thread to call a function with it, and its future."""

    __slots__ = ("alone", "function", "future", "item")

    def __init__(self, function: Callable[[list[Any]], Any], item: Any, *, alone: bool = False):
        self.function = function
        self.item = item
        self.alone = alone
        self.future: Future[Any] = Future()


def _each(calls: list[Callable[[], Any]]) -> list[Any]:
    return [call() for call in calls]


def _do(jobs: list[_Job]) -> float | None:
    """Do jobs for which somebody waits still; return how many seconds each took."""
    jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
    if not jobs:
        return None
    began = time.perf_counter()
    try:
        results = with_connection(jobs[0].function, [job.item for job in jobs])
        settled = list(zip(jobs, results, strict=True))
    except BaseException as error:
        settled = [(job, error) for job in jobs]
    for job, result in settled:
        if isinstance(result, BaseException):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)
    return (time.perf_counter() - began) / len(jobs)


#: What is added to the niceness of threads that hash: the event loop gets about ten times as much
#: of a processor that both want.
_NICE: Final = 10


def _be_nice() -> None:
    """Lower the priority of this thread; only Linux has one for each."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # where that is forbidden they work all the same
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICE)
