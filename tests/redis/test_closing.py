"""A subscriber ends when it is told to, whatever it is at."""

from __future__ import annotations

import asyncio

import pytest
from django.conf import settings
from redis.asyncio import ConnectionPool

from realtime.redis.subscriber import Subscriber


@pytest.mark.parametrize("turns", range(0, 20))
async def test_it_ends_soon_also_while_it_connects(turns: int) -> None:
    subscriber = Subscriber(ConnectionPool.from_url(settings.REDIS_URL), lambda *_: None)
    waiting = asyncio.ensure_future(subscriber.subscribe("a channel"))
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await subscriber.aclose()
        await asyncio.wait([waiting])
    waiting.exception()
