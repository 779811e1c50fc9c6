"""Subscriber: it ends whenever it is told to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from realtime.redis.connect import create_pool
from realtime.redis.subscriber import Subscriber


@pytest.mark.parametrize("steps", range(40))
async def test_it_ends_at_each_step_of_connecting(steps: int, settings: Any) -> None:
    pool = create_pool(settings.REDIS_URL)
    subscriber = Subscriber(pool, lambda *heard: None)
    subscribing = asyncio.ensure_future(subscriber.subscribe("nothing"))
    for _ in range(steps):
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await subscriber.aclose()
    subscribing.cancel()
    await asyncio.wait([subscribing])
    await pool.aclose()
