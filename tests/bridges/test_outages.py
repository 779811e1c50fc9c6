"""While Redis comes and goes nothing of a stream is lost, doubled or out of order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from notifications.bridges import from_channel, from_stream
from realtime.layer.pages import read_page
from tests.kit.bridging import consuming, eventually, new_name, published
from tests.kit.valkeys import Server, closing

ENTRIES = 12_000
ROUNDS = 6
TOPICS = 40


@pytest.fixture
def other(tmp_path: Path, settings: Any) -> Iterator[Server]:
    """The gateway's Redis: another than that of the streams, which forgets nothing if killed."""
    keeps = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
    with closing(Server(tmp_path, *keeps)) as server:
        settings.REDIS_URL = server.url
        layer = settings.CHANNEL_LAYERS["default"]
        config = {**layer["CONFIG"], "hosts": [server.url]}
        settings.CHANNEL_LAYERS = {"default": {**layer, "CONFIG": config}}
        yield server


@pytest.fixture
def own_url(settings: Any) -> str:
    """Where the tests' own Valkey is; ask for it, and its client, before :func:`other`."""
    url: str = settings.REDIS_URL
    return url


async def come_and_go(server: Server) -> None:
    """Take Redis away, in one way or another, and give it back."""
    await asyncio.sleep(random.uniform(0, 0.15))
    if random.random() < 0.5:
        server.kill()
        await asyncio.sleep(random.uniform(0, 1))
        await asyncio.to_thread(server.start)
    else:
        server.client.client_kill_filter(_type="normal", skipme=True)


async def test_what_redis_did_not_take_is_tried_again_in_order(
    redis_client: redis.Redis, own_url: str, other: Server
) -> None:
    topic, name = f"/topic/{new_name('outage')}", new_name("outage")
    route = from_stream(name, redis=own_url)

    def fill(start: int) -> None:
        with redis_client.pipeline(transaction=False) as pipeline:
            for number in range(start, start + ENTRIES // ROUNDS):
                fields = {"topic": f"{topic}/{number % TOPICS}", "message": f"{number}"}
                pipeline.xadd(name, dict(fields))
            pipeline.execute()

    async with consuming(route):
        for start in range(0, ENTRIES, ENTRIES // ROUNDS):
            await asyncio.to_thread(fill, start)
            await come_and_go(other)
        await eventually(lambda: redis_client.xinfo_groups(name)[0]["lag"] == 0)
        await eventually(lambda: redis_client.xpending(name, route.group)["pending"] == 0)
    for first in range(TOPICS):
        page = await asyncio.to_thread(read_page, f"{topic}/{first}")
        numbers = [int(message.body) for message in page.messages]
        assert numbers == list(range(first, ENTRIES, TOPICS))[-100:]
        assert page.position.offset == ENTRIES // TOPICS  # offsets count what was published


async def test_a_redis_that_hangs_longer_than_a_lease_loses_nothing(
    redis_client: redis.Redis, own_url: str, other: Server
) -> None:
    topic, name = f"/topic/{new_name('outage')}", new_name("outage")
    route = from_stream(name, to=topic, redis=own_url)
    async with consuming(route):
        redis_client.xadd(name, {"message": "before"})
        assert await published(topic, 1) == [b"before"]
        other.stand_still()
        for number in range(10):
            redis_client.xadd(name, {"message": f"{number}"})
        await asyncio.sleep(7)
        other.go_on()
        expected = [b"before", *(b"%d" % number for number in range(10))]
        assert await published(topic, 11) == expected


async def test_channels_are_heard_again_where_redis_was_away_when_it_began(
    own_url: str, other: Server
) -> None:
    topic, name = f"/topic/{new_name('outage')}", new_name("outage")
    route = from_channel(name, to=topic, redis=other.url)
    async with consuming(route):
        other.kill()
        await asyncio.sleep(1)
        other.start()
        await eventually(lambda: other.client.pubsub_numsub(name)[0][1])
        other.client.publish(name, '"back"')
        assert await published(topic, 1) == [b"back"]
