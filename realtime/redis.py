"""How every part of the gateway connects to Redis (or Valkey)."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Iterable
from hashlib import sha1
from typing import Any, Final, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import hiredis
import redis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import RedisError

from .hosts import Host, decode_host
from .replicas import check_replicas, wait_command
from .sentinel import PrimaryPool, SyncPrimaryPool

#: What a command can raise when Redis is away, hangs or refuses.
REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)

#: Seconds until a connection attempt, or the answer to a command, counts as lost.
CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 5.0

_KEEPALIVE: Final = {
    getattr(socket, name): seconds
    for name, seconds in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 2))
    if hasattr(socket, name)
}
_KEPT_ALIVE: Final = {"socket_keepalive": True, "socket_keepalive_options": _KEEPALIVE}
_DEFAULTS: Final[Host] = {
    "protocol": 2,
    "socket_timeout": ANSWER_SECONDS,
    "socket_connect_timeout": CONNECT_SECONDS,
}
_PASSWORD: Final = re.compile(r"(//[^:/@]*):.*@")
_PASSWORD_OPTION: Final = re.compile(r"(password=)[^&]*")

T = TypeVar("T")


def create_pool(host: Any) -> ConnectionPool:
    """
    Return where connections come from, for :class:`realtime.link.Link`: RESP2, kept alive.

    Raises:
        ValueError: If :mod:`realtime.hosts` knows no such host.
    """
    options = _DEFAULTS | decode_host(host)
    if "sentinels" in options:
        pool: ConnectionPool = PrimaryPool(options)
    elif "address" in options:
        pool = ConnectionPool.from_url(options.pop("address"), **options)
    else:
        pool = ConnectionPool(**_with_tls(options, SSLConnection))
    if issubclass(pool.connection_class, Connection):  # a Unix socket has no such options
        pool.connection_kwargs |= _KEPT_ALIVE
    return pool


def create_client(host: Any) -> redis.Redis:
    """
    Return a synchronous client, for views and commands; it may be shared by threads.

    Raises:
        ValueError: If :mod:`realtime.hosts` knows no such host.
    """
    options = _DEFAULTS | {"retry": None} | decode_host(host)
    if "sentinels" in options:
        return redis.Redis.from_pool(SyncPrimaryPool(options))
    if "address" in options:
        return redis.Redis.from_url(options.pop("address"), **options)
    return redis.Redis(**options)


def _with_tls(options: Host, connection_class: type[Connection]) -> Host:
    """Return the options of a pool, which wants a class where a client takes ``ssl``."""
    wanted = options.pop("ssl", False)
    return {"connection_class": connection_class, **options} if wanted else options


class Script:
    """
    A Lua script. Its first argument is which server process runs it: see :func:`server_run`.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = sha1(text.encode(), usedforsecurity=False).hexdigest()


class Call(NamedTuple):
    """A call of a script, with its arguments after the first."""

    script: Script
    keys: tuple[str, ...]
    arguments: tuple[Any, ...]


def pack(command: tuple[Any, ...] | Call, run: str = "") -> bytes:
    """Return a command, of strings and bytes, as it travels."""
    if isinstance(command, Call):
        script, keys, arguments = command
        command = ("EVALSHA", script.sha, len(keys), *keys, run, *arguments)
    packed: bytes = hiredis.pack_command(command)
    return packed


def preparation(scripts: Iterable[Script]) -> list[tuple[str, ...]]:
    """Return what a new connection is to do before it calls scripts; the last tells the server."""
    loading = [("SCRIPT", "LOAD", script.text) for script in scripts]
    return [*loading, ("INFO", "server")] if loading else []


def server_run(info: bytes) -> str:
    """Return the id of the server process: another after every restart and failover."""
    match = re.search(rb"run_id:(\w+)", info)
    return match[1].decode() if match is not None else ""


def execute_all(
    client: redis.Redis,
    commands: Iterable[tuple[Any, ...] | Call],
    scripts: Iterable[Script] = (),
    replicas: int = 0,
) -> list[Any]:
    """
    Return the answers to commands that travel in one round trip, and are never sent twice, once
    so many replicas have what they wrote.

    redis-py's own pipeline (8.1) needs twice the processor time.

    Raises:
        redis.RedisError: If one of them failed; others may have been done.
    """
    connection = client.connection_pool.get_connection()
    try:
        run = _prepare(connection, scripts)
        packed = [pack(command, run) for command in commands]
        wait = pack(wait_command(replicas)) if replicas else b""
        connection.send_packed_command([b"".join(packed) + wait])
        answers = [connection.read_response() for _ in packed]
        if replicas:
            check_replicas(connection.read_response(), replicas)
        return answers
    except BaseException:
        connection.disconnect()  # what was not read is no answer to the next caller
        raise
    finally:
        client.connection_pool.release(connection)


def _prepare(connection: Any, scripts: Iterable[Script]) -> str:
    """Prepare a connection when it is new, and whenever redis-py has made it anew."""
    connection.connect()
    known, run = getattr(connection, "prepared", (None, ""))
    if known is not connection._sock:
        for command in preparation(scripts):
            connection.send_command(*command)
            run = server_run(connection.read_response())
        connection.prepared = (connection._sock, run)
    return str(run)


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
