"""Database work of the gateway's asynchronous side, on threads of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from django.db import close_old_connections

T = TypeVar("T")

#: Channels' ``database_sync_to_async`` shares one thread with all else: a slow query of one
#: client would hold up every other.
_threads: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="realtime-database")


async def in_database(
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
