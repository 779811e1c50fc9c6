"""The subscribing connection, where it is closed while it is made."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from realtime.redis import create_pool
from realtime.redis.subscriber import Subscriber


class Pool:
    """Where a connection comes from that loses a cancellation, as redis-py's do on Python 3.11."""

    def __init__(self) -> None:
        self.connecting = asyncio.Event()

    async def connect(self) -> Any:
        self.connecting.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionError("it is lost") from None

    async def is_current(self, connection: Any) -> bool:
        return True


async def test_it_ends_though_a_cancellation_gets_lost() -> None:
    pool = Pool()
    subscriber = Subscriber(pool, lambda *_: None)
    subscribing = asyncio.create_task(subscriber.subscribe("a"))
    await pool.connecting.wait()
    async with asyncio.timeout(5):
        await subscriber.aclose()
    with pytest.raises(Exception, match="away"):
        await subscribing


@pytest.mark.parametrize("turns", range(0, 40, 4))
async def test_it_ends_whenever_it_is_closed(valkey: Any, turns: int) -> None:
    subscriber = Subscriber(create_pool(valkey.connection_url), lambda *_: None)
    subscribing = asyncio.create_task(subscriber.subscribe("a"))
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await subscriber.aclose()
    await asyncio.gather(subscribing, return_exceptions=True)
