"""Connect: pools, clients and pipelines for any address of a Redis or Valkey."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import redis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import Connection, SSLConnection

from realtime.concurrency import per_loop

from .cluster import ClusterClient, ClusterPool
from .cluster_pipeline import ClusterPipeline
from .commands import ANSWER_SECONDS, CONNECT_SECONDS, Command, Script, naming
from .exchange import execute_each
from .hosts import Host, decode_host
from .link import Pool
from .pipeline import Pipeline
from .sentinel import PrimaryPool, SyncPrimaryPool

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
    "driver_info": None,  # which version of redis-py this is; a name says more, at the same cost
}
_PASSWORD: Final = re.compile(r"(//[^:/@]*):.*@")
_PASSWORD_OPTION: Final = re.compile(r"(password=)[^&]*")


def create_pool(host: Any) -> ConnectionPool | ClusterPool:
    """
    Return where connections come from, for :class:`realtime.redis.link.Link`: RESP2, kept alive.

    Raises:
        ValueError: If :mod:`realtime.redis.hosts` knows no such host.
    """
    options = _DEFAULTS | decode_host(host)
    if "cluster" in options:
        return ClusterPool(options, create_pool)
    if "sentinels" in options:
        pool: ConnectionPool = PrimaryPool(options)
    elif "address" in options:
        pool = ConnectionPool.from_url(options.pop("address"), **options)
    else:
        pool = ConnectionPool(**_with_tls(options, SSLConnection))
    if issubclass(pool.connection_class, Connection):  # a Unix socket has no such options
        pool.connection_kwargs |= _KEPT_ALIVE
    return pool


def create_client(host: Any) -> redis.Redis | ClusterClient:
    """
    Return a synchronous client, for views and commands; it may be shared by threads.

    Raises:
        ValueError: If :mod:`realtime.redis.hosts` knows no such host.
    """
    options = _DEFAULTS | {"retry": None, "redis_connect_func": _connected} | decode_host(host)
    if "cluster" in options:
        return ClusterClient(options, create_client)
    if "sentinels" in options:
        return redis.Redis.from_pool(SyncPrimaryPool(options))
    if "address" in options:
        return redis.Redis.from_url(options.pop("address"), **options)
    return redis.Redis(**options)


def open_pipeline(pool: Pool, scripts: Iterable[Script] = ()) -> Pipeline | ClusterPipeline:
    """Return what sends commands to one Redis, or to the nodes of a cluster."""
    if isinstance(pool, ClusterPool):
        return ClusterPipeline(pool, scripts)
    return Pipeline(pool, scripts)


@per_loop
def pipeline_to(url: str) -> Pipeline | ClusterPipeline:
    """Return this event loop's pipeline to the Redis at the URL."""
    return open_pipeline(create_pool(url))


def _connected(connection: Any) -> None:
    """Do what redis-py does with a new connection, and name it."""
    connection.on_connect()
    connection.send_command(*naming("client"))
    with contextlib.suppress(redis.ResponseError):  # a user may lack the right
        connection.read_response()


def _with_tls(options: Host, connection_class: type[Connection]) -> Host:
    """Return the options of a pool, which wants a class where a client takes ``ssl``."""
    wanted = options.pop("ssl", False)
    return {"connection_class": connection_class, **options} if wanted else options


def execute_all(
    client: redis.Redis | ClusterClient,
    commands: Iterable[Command],
    scripts: Iterable[Script] = (),
    replicas: int = 0,
) -> list[Any]:
    """
    Return the answers to commands that travel in one round trip (to each node of a cluster), once
    so many replicas have what they wrote. What failed is not sent again.

    Raises:
        redis.RedisError: If one of them failed; others may have been done.
    """
    answers = try_all(client, commands, scripts, replicas)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def try_all(
    client: redis.Redis | ClusterClient,
    commands: Iterable[Command],
    scripts: Iterable[Script] = (),
    replicas: int = 0,
) -> list[Any]:
    """
    Return what :func:`execute_all` does; the answer to a command that failed is its error.

    Raises:
        redis.RedisError: If it is not known what became of them, or fewer replicas have it.
    """
    execute = (
        client.execute_each if isinstance(client, ClusterClient) else partial(execute_each, client)
    )
    return execute(list(commands), scripts, replicas)


def without_password(url: str) -> str:
    """Return the URL fit to be shown."""
    return _PASSWORD_OPTION.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))
