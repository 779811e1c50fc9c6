"""The channel layer on a cluster of real servers, whose nodes die and whose slots move."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest
import redis
from redis.crc import key_slot

from realtime.destinations.groups import group_name
from realtime.destinations.patterns import pattern_of
from realtime.history.log import Lost
from realtime.layer.layer import TopicLayer
from realtime.messages.message import Message, check
from realtime.redis import create_client, create_pool, execute_all
from realtime.redis.cluster_pipeline import ClusterPipeline
from realtime.redis.hosts import decode_host
from realtime.redis.slots import SlotMap
from tests.kit.publishing import (
    KEPT,
    Listener,
    kept_since,
    published,
    submission,
    submit,
    submit_sync,
)
from tests.kit.valkeys import TIMEOUT, Cluster, Server


def group_on(cluster: Cluster, server: Server, name: str = "group") -> str:
    """Return a group, of a name that begins so, that a primary has."""
    names = (f"{name}{number}" for number in range(1000))
    return next(name for name in names if cluster.owner(f"test__group__{name}") is server)


async def test_what_is_published_on_any_node_is_heard_and_kept(cluster: Cluster) -> None:
    layer = TopicLayer(hosts=[cluster.url], prefix="test")
    groups = [group_on(cluster, server) for server in cluster.primaries]
    listener = Listener()
    await listener.listen(layer, *groups)
    for number, group in enumerate(groups):
        await published(layer, number, group)
        await listener.hears(*range(number + 1))
    many = [submission(number, groups[number % 3]) for number in range(3, 60)]
    await asyncio.to_thread(submit_sync, layer, many)
    await asyncio.gather(*(submit(layer, *each[:2]) for each in many))  # not kept
    async with asyncio.timeout(TIMEOUT):
        while len(listener.got) < 3 + 2 * 57:
            await asyncio.sleep(0.05)
    for number in range(3):  # each group in order
        heard = [each for each in listener.got if each % 3 == number]
        assert heard == [number, *[*range(number + 3, 60, 3)] * 2]
    logs = [await layer.reader.read(group, KEPT, 100) for group in groups]
    assert [log.position.offset for log in logs] == [20, 20, 20]
    await layer.flush()


async def test_patterns_are_heard(cluster: Cluster) -> None:
    layer = TopicLayer(hosts=[cluster.url], prefix="test")
    got: list[Any] = []
    channel = await layer.listen(
        lambda messages, first, pattern: got.extend(each["destination"] for each in messages)
    )
    await layer.pattern_add(pattern_of("/topic/orders/*").glob, channel)
    names = [f"/topic/orders/{number}" for number in range(30)]
    for name in names:
        await submit(layer, group_name(name), [check(Message(name, b"")).envelope], KEPT)
    async with asyncio.timeout(TIMEOUT):
        while len(got) < 30:
            await asyncio.sleep(0.05)
    assert sorted(got) == sorted(names)
    await layer.flush()


async def test_the_replica_of_a_dead_node_takes_over(own_cluster: Cluster) -> None:
    layer = TopicLayer(hosts=[own_cluster.url], prefix="test")
    fragile, other = (group_on(own_cluster, each) for each in own_cluster.primaries[:2])
    listener = Listener()
    await listener.listen(layer, fragile, other)
    known = await published(layer, 0, fragile)
    assert own_cluster.primaries[0].client.wait(1, 1000 * TIMEOUT) == 1
    await listener.hears(0)
    own_cluster.primaries[0].kill()
    started = time.monotonic()
    with pytest.raises(redis.RedisError):
        await submit(layer, *submission(-1, fragile))
    with pytest.raises(redis.RedisError):
        await asyncio.to_thread(submit_sync, layer, [submission(-1, fragile)])
    await submit(layer, *submission(1, other))
    await asyncio.to_thread(submit_sync, layer, [submission(2, other)])
    assert time.monotonic() - started < 5
    await asyncio.to_thread(own_cluster.fail_over)
    after = await published(layer, 3, fragile)
    assert (after.epoch != known.epoch, after.offset) == (True, 2)
    with contextlib.suppress(redis.RedisError):  # that tells who is there
        await asyncio.to_thread(submit_sync, layer, [submission(-1, fragile)])
    await asyncio.to_thread(submit_sync, layer, [submission(4, fragile)])
    log = await layer.reader.read(fragile, KEPT, 10)
    assert kept_since(log, known) in ([3, 4], [3, -1, 4])
    await heard(layer, listener, fragile)
    await layer.flush()


async def heard(layer: TopicLayer, listener: Listener, group: str) -> None:
    """Publish until the listener hears it: it may be connecting again."""
    async with asyncio.timeout(TIMEOUT):
        while 99 not in listener.got:
            await published(layer, 99, group)
            await asyncio.sleep(0.1)


async def test_a_node_without_a_replica_is_back_when_it_is_back(own_cluster: Cluster) -> None:
    layer = TopicLayer(hosts=[own_cluster.url], prefix="test")
    fragile, other = (group_on(own_cluster, each) for each in own_cluster.primaries[1:])
    listener = Listener()
    await listener.listen(layer, fragile, other)
    lost = await published(layer, 0, fragile)
    own_cluster.primaries[1].kill()
    for _ in range(10):
        started = time.monotonic()
        with pytest.raises(redis.RedisError):
            await submit(layer, *submission(-1, fragile))
        assert time.monotonic() - started < 2
        await submit(layer, *submission(1, other))
        await asyncio.sleep(0.1)
    await heard(layer, listener, other)
    own_cluster.primaries[1].start()
    await published(layer, 2, fragile)
    log = await layer.reader.read(fragile, KEPT, 10)
    with pytest.raises(Lost, match="epoch"):
        log.since(lost)
    await layer.flush()


async def test_nothing_is_lost_doubled_or_out_of_order_while_slots_move(cluster: Cluster) -> None:
    layer = TopicLayer(hosts=[cluster.url], prefix="test")
    group = group_on(cluster, cluster.primaries[1], "moving")
    listener = Listener()
    await listener.listen(layer, group)
    first = await published(layer, 0, group)
    moving = asyncio.create_task(move_to_and_fro(cluster, f"test__group__{group}"))
    sent, taken = 1, 0
    while not moving.done():
        several = [submit(layer, *submission(sent + n, group)) for n in range(20)]
        sent += 20
        await asyncio.sleep(0.002)
        taken += len(await asyncio.gather(*several))
    await moving
    assert (await published(layer, sent, group)).offset == sent + 1 == taken + 2
    await asyncio.to_thread(submit_sync, layer, [submission(sent + 1, group)])
    log = await layer.reader.read(group, KEPT, KEPT.size)
    assert [int(each.message.body) for each in log.entries][-50:] == [*range(sent - 48, sent + 2)]
    assert log.position.offset == sent + 2
    assert first.epoch in log.ended  # another server is another run
    await listener.hears(*range(sent + 2))
    await layer.flush()


async def move_to_and_fro(cluster: Cluster, name: str) -> None:
    """Move the slot of a group from the second primary to the third, and back."""
    _, second, third = cluster.primaries
    for source, target in ((second, third), (third, second)):
        await asyncio.sleep(0.2)
        await asyncio.to_thread(cluster.move_slot, name, source, target)
    await asyncio.sleep(0.2)


async def test_a_command_of_a_stale_map_reaches_the_right_node(cluster: Cluster) -> None:
    pool = create_pool(cluster.url)
    client = create_client(cluster.url)
    pipeline = ClusterPipeline(pool)  # type: ignore[arg-type]
    names = [f"key{number}" for number in range(20)]
    assert execute_all(client, [("SET", name, "0") for name in names]) == [b"OK"] * 20
    await asyncio.gather(*(pipeline.submit(("GET", name)) for name in names))
    for slots in (pool.slots, client._nodes.slots):  # type: ignore[union-attr]
        for name in names:
            slots.move(key_slot(name.encode()), ("127.0.0.1", cluster.primaries[0].port))
    appended = [pipeline.submit(("APPEND", name, str(n))) for n in range(1, 4) for name in names]
    assert [await each for each in appended] == [2] * 20 + [3] * 20 + [4] * 20
    assert execute_all(client, [("GET", name) for name in names]) == [b"0123"] * 20
    wrong = pipeline.submit(("INCR", names[0], "too many"))
    with pytest.raises(redis.ResponseError, match="wrong number"):
        await wrong
    await pipeline.aclose()


async def test_without_a_node_every_call_fails_soon() -> None:
    layer = TopicLayer(hosts=["redis+cluster://127.0.0.1:1,127.0.0.1:2"], prefix="test")
    with pytest.raises(redis.ConnectionError, match="no node of the cluster answers"):
        await asyncio.wait_for(submit(layer, *submission(0)), 5)
    with pytest.raises(redis.ConnectionError):
        await asyncio.wait_for(layer.new_channel(), 5)
    with pytest.raises(redis.ConnectionError, match="no node of the cluster answers"):
        await asyncio.to_thread(submit_sync, layer, [submission(0)])
    await layer.flush()


def test_a_slot_map_knows_who_has_what() -> None:
    answer = [
        [0, 99, [b"one", 1, b"id", []], [b"two", 2, b"id", []]],
        [200, 16383, [b"", 3, b"id", []]],
    ]
    slots = SlotMap(answer, ("asked", 3))
    assert slots.nodes == {("one", 1), ("two", 2), ("asked", 3)}
    assert [slots.primary_of(slot) for slot in (0, 99, 200)] == [("one", 1)] * 2 + [("asked", 3)]
    with pytest.raises(redis.exceptions.ClusterDownError):
        slots.primary_of(100)


def test_a_cluster_is_named_in_the_url() -> None:
    assert decode_host("redis+cluster://:secret@one:1,two/?health_check_interval=7") == {
        "cluster": [("one", 1), ("two", 6379)],
        "password": "secret",
        "health_check_interval": 7,
    }
    with pytest.raises(ValueError, match="database 0"):
        decode_host("redis+cluster://one/3")
