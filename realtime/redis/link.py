"""One connection to Redis, read as fast as answers come."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Protocol, runtime_checkable

import hiredis
import redis
from redis.asyncio import ConnectionPool
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    TryAgainError,
)

from realtime.concurrency import check_cancelled

from .commands import REDIS_ERRORS, Fenced, Script, naming, preparation, server_run
from .replicas import is_left, note_replica

logger = logging.getLogger(__name__)

#: Seconds between two questions whether a link leads where it should.
CHECK_SECONDS: Final = 1.0

_KINDS: Final[dict[str, type[redis.ResponseError]]] = {
    "ASK": AskError,
    "CLUSTERDOWN": ClusterDownError,
    "FENCED": Fenced,
    "MOVED": MovedError,
    "NOPERM": NoPermissionError,
    "NOSCRIPT": NoScriptError,
    "READONLY": redis.ReadOnlyError,
    "TRYAGAIN": TryAgainError,
}

#: Takes an answer; what it returns is awaited before the next.
Receive = Callable[[Any], Awaitable[object] | None]


@runtime_checkable
class Moving(Protocol):
    """Where connections come from, if it may be one server now and another later."""

    async def connect(self) -> Any:
        """Return a new connection of redis-py."""

    async def is_current(self, connection: Any) -> bool:
        """Return whether a new connection could lead where this one does."""


#: Where connections come from.
Pool = ConnectionPool | Moving


class Link(asyncio.Protocol):
    """
    One connection to Redis.

    redis-py makes it (addresses, TLS, login, Sentinel). From then on this protocol stands in for
    redis-py's streams, which cost more per answer than everything else together: hiredis reads
    what comes, and each answer goes to ``receive`` at once.
    """

    def __init__(self, connection: Any, receive: Receive, run: str, since: float) -> None:
        self._since = since
        self._connection = connection  # closes its socket when it is collected
        self._receive = receive
        #: Which server process this is, if scripts were loaded.
        self.run = run
        self._reader = hiredis.Reader(protocolError=redis.ConnectionError, replyError=_reply_error)
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
        cls, pool: Pool, receive: Receive, scripts: Iterable[Script] = (), *, purpose: str
    ) -> Link:
        """
        Connect as the pool is configured, name the connection by its purpose, and load scripts.

        Raises:
            One of :data:`.REDIS_ERRORS`.
        """
        since = time.monotonic()
        connection = await _connect(pool)
        try:
            check_cancelled()
            run = ""
            for command in preparation(scripts):
                await connection.send_command(*command)
                run = server_run(await connection.read_response())
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        link = cls(connection, receive, run, since)
        link._name(purpose)
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

    def leave(self, error: redis.ReadOnlyError) -> None:
        """End the connection, and soon all others to this server: it is a replica."""
        note_replica(self._connection)
        self.close(error)

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        self.heard = self._loop.time()
        self._reader.feed(data)
        self._hand_over()

    def connection_lost(self, error: BaseException | None) -> None:
        self.close(error or redis.ConnectionError("Redis closed the connection"))

    def _name(self, purpose: str) -> None:
        """Name the connection, in the write of the first commands; a user may lack the right."""
        receive = self._receive

        def look_away(answer: Any) -> None:
            self._receive = receive

        self._receive = look_away
        self.write(hiredis.pack_command(naming(purpose)))

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

    async def _check(self, pool: Pool) -> None:
        """Leave a server that others have left: what is published there, they do not hear."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            left = is_left(self._connection, self._since)
            if not left and isinstance(pool, Moving):
                with contextlib.suppress(*REDIS_ERRORS):
                    left = not await pool.is_current(self._connection)
            if left:
                self.close(redis.ConnectionError("another Redis has taken over"))

    def _end(self, error: BaseException) -> None:
        if not self.lost.done():
            self.lost.set_result(error)


async def _connect(pool: Pool) -> Any:
    if isinstance(pool, Moving):
        return await pool.connect()
    connection = pool.make_connection()
    await connection.connect()
    return connection


def _reply_error(text: str) -> redis.ResponseError:
    """Return an error that Redis answers, as redis-py does where somebody looks at the kind."""
    code, _, rest = text.partition(" ")
    return _KINDS[code](rest) if code in _KINDS else redis.ResponseError(text)
