"""One connection to Redis, and commands sent over one, as fast as they come."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Protocol, runtime_checkable

import hiredis
import redis
from redis.asyncio import ConnectionPool

from .redis import (
    ANSWER_SECONDS,
    REDIS_ERRORS,
    Call,
    Script,
    create_pool,
    pack,
    per_loop,
    preparation,
    server_run,
)

logger = logging.getLogger(__name__)

#: What may be on its way to Redis at most, from one pipeline; then :meth:`Pipeline.room` waits.
MAX_COMMANDS: Final = 10_000
MAX_BYTES: Final = 32 * 1024 * 1024

#: Answers of a server with which nothing can be done any more: somebody flushed its scripts, which
#: only a new connection loads; or it is no primary now.
_LEAVE: Final = ("NOSCRIPT", "READONLY")

#: Seconds between two questions whether a link leads where it should.
CHECK_SECONDS: Final = 1.0

#: Takes an answer; what it returns is awaited before the next.
Receive = Callable[[Any], Awaitable[object] | None]


@runtime_checkable
class Moving(Protocol):
    """Where connections come from, if it may be one server now and another later."""

    async def is_current(self, connection: Any) -> bool:
        """Return whether a new connection could lead where this one does."""


class Link(asyncio.Protocol):
    """
    One connection to Redis.

    redis-py makes it (addresses, TLS, login, Sentinel). From then on this protocol stands in for
    redis-py's streams, which cost more per answer than everything else together: hiredis reads
    what comes, and each answer goes to ``receive`` at once.
    """

    def __init__(self, connection: Any, receive: Receive, run: str = "") -> None:
        self._connection = connection  # closes its socket when it is collected
        self._receive = receive
        #: Which server process this is, if scripts were loaded.
        self.run = run
        self._reader = hiredis.Reader(
            protocolError=redis.ConnectionError, replyError=redis.ResponseError
        )
        self._loop = asyncio.get_running_loop()
        #: What ``receive`` wants to be waited for; nothing is read meanwhile.
        self.held: asyncio.Future[Any] | None = None
        self._transport: asyncio.Transport = connection._writer.transport
        self._transport.set_protocol(self)
        #: Ends when the connection does; its result is the reason.
        self.lost: asyncio.Future[BaseException] = self._loop.create_future()
        #: When Redis was last heard, on the loop's clock.
        self.heard = self._loop.time()
        self._checker: asyncio.Task[None] | None = None

    @classmethod
    async def connect(
        cls, pool: ConnectionPool, receive: Receive, scripts: Iterable[Script] = ()
    ) -> Link:
        """
        Connect as the pool is configured, and load scripts.

        Raises:
            One of :data:`.REDIS_ERRORS`.
        """
        connection = pool.make_connection()
        await connection.connect()
        try:
            run = ""
            for command in preparation(scripts):
                await connection.send_command(*command)
                run = server_run(await connection.read_response())
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        link = cls(connection, receive, run)
        if isinstance(pool, Moving):
            link._checker = asyncio.create_task(link._check(pool))
        return link

    def write(self, data: bytes) -> None:
        """Send packed commands; after the connection ended nothing happens."""
        self._transport.write(data)

    def close(self, error: BaseException | None = None) -> None:
        """End the connection at once; what it was waited for is given up."""
        self._transport.abort()
        self._connection._reader = self._connection._writer = None  # nothing left to close
        if self._checker is not None:
            self._checker.cancel()
        self._end(error or redis.ConnectionError("closed"))

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        self.heard = self._loop.time()
        self._reader.feed(data)
        self._hand_over()

    def connection_lost(self, error: BaseException | None) -> None:
        self.close(error or redis.ConnectionError("Redis closed the connection"))

    def _hand_over(self) -> None:
        while self.held is None and not self.lost.done():
            try:
                answer = self._reader.gets()
                if answer is False:
                    return
                wait = self._receive(answer)
            except redis.ConnectionError as error:  # hiredis does not understand what came
                self.close(error)
            except Exception:  # the next answer may be another's
                logger.exception("an answer of Redis could not be used")
            else:
                if wait is not None:
                    self._hold(wait)

    def _hold(self, wait: Awaitable[object]) -> None:
        self.held = asyncio.ensure_future(wait)
        self._transport.pause_reading()
        self.held.add_done_callback(self._release)

    def _release(self, waited: asyncio.Future[Any]) -> None:
        self.held = None
        self.heard = self._loop.time()
        if not self.lost.done():
            self._hand_over()
            if self.held is None:
                self._transport.resume_reading()

    async def _check(self, pool: Moving) -> None:
        """Leave a server that others have left: what is published there, they do not hear."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            with contextlib.suppress(*REDIS_ERRORS):
                if not await pool.is_current(self._connection):
                    self.close(redis.ConnectionError("another Redis has taken over"))

    def _end(self, error: BaseException) -> None:
        if not self.lost.done():
            self.lost.set_result(error)


class Pipeline:
    """
    Send commands in the order of :meth:`submit`, those of one loop turn in one write.

    Nobody waits for the answers to earlier ones. A command is never sent twice: if the link
    dies, each caller whose answer was not read gets the error.

    Args:
        pool: Where connections come from.
        scripts: What :meth:`call` may call.
    """

    def __init__(self, pool: ConnectionPool, scripts: Iterable[Script] = ()) -> None:
        self._pool = pool
        self._scripts = scripts
        self._link: Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._unsent: list[tuple[tuple[Any, ...] | Call, int, asyncio.Future[Any]]] = []
        self._unanswered: deque[tuple[int, asyncio.Future[Any]]] = deque()
        self._bytes = 0
        self._waiting_for_room: list[asyncio.Future[None]] = []

    def submit(self, command: tuple[Any, ...] | Call) -> asyncio.Future[Any]:
        """
        Queue a command, or the call of a script; the future gets its answer.

        The future fails with one of :data:`.REDIS_ERRORS`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        size = sum(map(len, command.arguments if isinstance(command, Call) else command))
        if not self._unsent and self._connecting is None:
            loop.call_soon(self._send)
        self._unsent.append((command, size, future))
        self._bytes += size
        return future

    async def room(self) -> None:
        """Return when another command may be submitted: more than so much is a pile."""
        while len(self._unsent) + len(self._unanswered) >= MAX_COMMANDS or self._bytes >= MAX_BYTES:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting_for_room.append(waiter)
            await waiter

    async def aclose(self) -> None:
        """Close the connection; commands that wait are answered first."""
        while self._unsent or self._unanswered:
            unsent = [future for _, _, future in self._unsent]
            await asyncio.wait([*unsent, *(future for _, future in self._unanswered)])
        if self._link is not None:
            self._link.close()
        if self._watch is not None:
            self._watch.cancel()

    def _send(self) -> None:
        if self._link is None or self._link.lost.done():
            self._connecting = asyncio.ensure_future(self._connect())
            return
        if not self._unanswered:
            self._link.heard = asyncio.get_running_loop().time()
            self._look_later(ANSWER_SECONDS)
        run = self._link.run
        self._link.write(b"".join([pack(command, run) for command, _, _ in self._unsent]))
        self._unanswered.extend([(size, future) for _, size, future in self._unsent])
        self._unsent.clear()

    async def _connect(self) -> None:
        try:
            self._link = await Link.connect(self._pool, self._answered, self._scripts)
            self._link.lost.add_done_callback(self._lost)
            self._send()
        except Exception as error:
            if not isinstance(error, REDIS_ERRORS):
                logger.exception("the connection to Redis failed")
            unsent, self._unsent = self._unsent, []
            self._fail([(size, future) for _, size, future in unsent], error)
        finally:
            self._connecting = None

    def _answered(self, answer: Any) -> None:
        size, future = self._unanswered.popleft()
        self._bytes -= size
        if not future.done():
            if isinstance(answer, Exception):
                future.set_exception(answer)
                if self._link is not None and str(answer).startswith(_LEAVE):
                    self._link.close()
            else:
                future.set_result(answer)
        if self._waiting_for_room:
            self._make_room()

    def _lost(self, lost: asyncio.Future[BaseException]) -> None:
        unanswered, self._unanswered = self._unanswered, deque()
        self._fail(unanswered, lost.result())

    def _fail(self, commands: Any, error: BaseException) -> None:
        if not isinstance(error, redis.RedisError):
            error = redis.ConnectionError(f"the link to Redis died: {error!r}")
        for size, future in commands:
            self._bytes -= size
            if not future.done():
                future.set_exception(error)
        self._make_room()

    def _make_room(self) -> None:
        waiting, self._waiting_for_room = self._waiting_for_room, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _look_later(self, seconds: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """End a link that owes answers and is silent."""
        self._watch = None
        if self._link is None or not self._unanswered:
            return
        silence = asyncio.get_running_loop().time() - self._link.heard
        if silence >= ANSWER_SECONDS:
            self._link.close(redis.TimeoutError(f"no answer for {ANSWER_SECONDS:g} s"))
        else:
            self._look_later(ANSWER_SECONDS - silence)


@per_loop
def pipeline_to(url: str) -> Pipeline:
    """Return this event loop's pipeline to the Redis at the URL."""
    return Pipeline(create_pool(url))
