"""
Connections to the primary that sentinels name.

redis-py's, which ask the sentinels for each new connection, and two things more: only one asks at
a time (``discover_master`` of redis-py 8.1 swaps entries of its list while others walk over it, and
can lose one), and what is connected to a server that is not the primary any more can be told.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Any, Final

import redis.asyncio.sentinel
import redis.sentinel
from redis.exceptions import RedisError

from .hosts import Host

#: Seconds for which synchronous code believes what the sentinels said.
BELIEVED_SECONDS: Final = 1.0

#: Seconds until a sentinel that does not answer is passed over.
SENTINEL_SECONDS: Final = 1.0

_Address = tuple[str, int]


class PrimaryPool(redis.asyncio.sentinel.SentinelConnectionPool):
    """Where connections to the primary come from."""

    def __init__(self, host: Host) -> None:
        name, manager, options = _managed(host, redis.asyncio.sentinel.Sentinel)
        self._asking = asyncio.Lock()
        super().__init__(name, manager, **options)

    async def get_master_address(self) -> _Address:
        async with self._asking:
            address: _Address = await super().get_master_address()
        return address

    async def connect(self) -> Any:
        """
        Return a connection to the primary.

        Raises:
            One of :data:`.REDIS_ERRORS`.
        """
        connection = self.make_connection()
        await connection.connect()
        return connection

    async def is_current(self, connection: Any) -> bool:
        """
        Return whether a connection is to the primary.

        Raises:
            redis.RedisError: If no sentinel knows one.
        """
        return await self.get_master_address() == (connection.host, connection.port)

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


class SyncPrimaryPool(redis.sentinel.SentinelConnectionPool):
    """The same for synchronous code, shared by threads."""

    def __init__(self, host: Host) -> None:
        name, manager, options = _managed(host, _LockedSentinel)
        self._asked = 0.0
        super().__init__(name, manager, **options)

    def get_connection(self, *args: Any, **options: Any) -> Any:
        if time.monotonic() - self._asked > BELIEVED_SECONDS:
            self._asked = time.monotonic()
            with contextlib.suppress(RedisError):  # the primary may answer all the same
                self.get_master_address()  # closes idle connections to another
        return super().get_connection(*args, **options)


class _LockedSentinel(redis.sentinel.Sentinel):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._asking = threading.Lock()

    def discover_master(self, service_name: str) -> _Address:
        with self._asking:
            address: _Address = super().discover_master(service_name)
        return address


def _managed(host: Host, kind: Any) -> tuple[str, Any, Host]:
    """Return the primary's name, who asks the sentinels for it, and options of connections."""
    options = dict(host)
    secured = {name: value for name, value in options.items() if name.startswith("ssl")}
    asking = {
        "socket_timeout": SENTINEL_SECONDS,
        "socket_connect_timeout": SENTINEL_SECONDS,
        "retry": None,
        **secured,
        **(options.pop("sentinel_kwargs", None) or {}),
    }
    sentinels = options.pop("sentinels")
    return options.pop("master_name"), kind(sentinels, sentinel_kwargs=asking), options
