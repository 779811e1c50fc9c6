"""How every part of the gateway connects to Redis (or Valkey)."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

import redis
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError

#: What a command can raise when Redis is away, hangs or refuses.
REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)

#: Seconds until a connection attempt, or the answer to a command, counts as lost.
CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 5.0

#: How many commands travel in one pipeline at most.
PIPELINE_COMMANDS: Final = 1000

_KEEPALIVE: Final = {
    getattr(socket, name): seconds
    for name, seconds in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 2))
    if hasattr(socket, name)
}
_PASSWORD: Final = re.compile(r"(//[^:/@]*):.*@")
_PASSWORD_OPTION: Final = re.compile(r"(password=)[^&]*")

T = TypeVar("T")


class _OperatingSystemTimeout:
    """
    Turn a socket's ETIMEDOUT into a ConnectionError.

    redis-py 8.1 takes it for an answer that has not come yet, keeps the dead connection and
    reads it again without ever yielding: the event loop hangs (asyncio's own timeouts
    surface elsewhere, so any TimeoutError here is the operating system's).
    """

    async def _read_response_from_parser(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super()._read_response_from_parser(*args, **kwargs)  # type: ignore[misc]
        except TimeoutError as error:
            raise redis.ConnectionError(f"the link to Redis died: {error!r}") from error


class SafeConnection(_OperatingSystemTimeout, Connection):
    """``redis://``"""


class SafeSSLConnection(_OperatingSystemTimeout, SSLConnection):
    """``rediss://``"""


_CONNECTIONS: Final = {"redis": SafeConnection, "rediss": SafeSSLConnection}


def create_pool(url: str, **options: Any) -> ConnectionPool:
    """Return a pool of connections that notice a dead link; RESP2, answers as bytes."""
    pool = ConnectionPool.from_url(
        url,
        **{
            "protocol": 2,
            "socket_timeout": ANSWER_SECONDS,
            "socket_connect_timeout": CONNECT_SECONDS,
            **options,
        },
    )
    if not issubclass(pool.connection_class, UnixDomainSocketConnection):
        pool.connection_class = _CONNECTIONS[url.partition(":")[0]]
        pool.connection_kwargs |= {
            "socket_keepalive": True,
            "socket_keepalive_options": _KEEPALIVE,
        }
    return pool


def create_client(url: str, **options: Any) -> redis.Redis:
    """Return a synchronous client, for views and commands; it may be shared by threads."""
    return redis.Redis.from_url(
        url,
        **{
            "protocol": 2,
            "socket_timeout": ANSWER_SECONDS,
            "socket_connect_timeout": CONNECT_SECONDS,
            "retry": None,
            **options,
        },
    )


def without_password(url: str) -> str:
    """Return the URL fit to be shown."""
    return _PASSWORD_OPTION.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))


def per_loop(factory: Callable[..., T]) -> Callable[..., T]:
    """Make a function return the same object to everyone on one event loop."""
    made: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, T]] = WeakKeyDictionary()

    def of_this_loop(*args: Any) -> T:
        here = made.setdefault(asyncio.get_running_loop(), {})
        if args not in here:
            here[args] = factory(*args)
        return here[args]

    return of_this_loop


class Pipeline:
    """
    Send commands in the order of :meth:`submit`, those of one loop turn in one round trip.

    While one batch is on its way the next collects. A command is never sent twice: if the
    link dies, each caller whose answer was not read gets the error.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._redis = Redis(connection_pool=pool)
        self._waiting: list[tuple[tuple[Any, ...], asyncio.Future[Any]]] = []
        self._sender: asyncio.Task[None] | None = None

    def submit(self, *command: Any) -> asyncio.Future[Any]:
        """
        Queue a command; the future gets its answer.

        The future fails with one of :data:`REDIS_ERRORS`.
        """
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((command, future))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())
        return future

    async def aclose(self) -> None:
        """Close the connections; commands that wait are answered first."""
        if self._sender is not None:
            await self._sender
        await self._redis.aclose(close_connection_pool=True)

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[:PIPELINE_COMMANDS]
                del self._waiting[:PIPELINE_COMMANDS]
                await self._send(batch)
        finally:
            self._sender = None

    async def _send(self, batch: list[tuple[tuple[Any, ...], asyncio.Future[Any]]]) -> None:
        try:
            pipeline = self._redis.pipeline(transaction=False)
            for command, _ in batch:
                pipeline.execute_command(*command)
            answers = await pipeline.execute(raise_on_error=False)
        except RedisError as error:
            answers = [error] * len(batch)
        except (OSError, TimeoutError) as error:
            answers = [redis.ConnectionError(f"the link to Redis died: {error!r}")] * len(batch)
        except Exception as error:  # nobody may wait for ever
            answers = [error] * len(batch)
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


@per_loop
def pipeline_to(url: str) -> Pipeline:
    """Return this event loop's pipeline to the Redis at the URL."""
    return Pipeline(create_pool(url))
