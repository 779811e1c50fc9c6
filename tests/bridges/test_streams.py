"""Entries of Redis streams reach their topics: all of them, in order, and none twice."""

from __future__ import annotations

import asyncio

import pytest
import redis

from notifications.bridges import from_stream
from notifications.bridges.lease import Lease
from notifications.bridges.publisher import Publisher
from notifications.bridges.routes import IncomingRoute
from notifications.bridges.streams import _Reader
from realtime.redis import pipeline_to
from tests.kit.bridging import consuming, dead_letters, eventually, new_name, published, status


@pytest.fixture
def topic() -> str:
    return f"/topic/{new_name('stream')}"


@pytest.fixture
def route(topic: str) -> IncomingRoute:
    return from_stream(new_name("stream"), to=topic)


def add(client: redis.Redis, route: IncomingRoute, *bodies: str) -> None:
    for body in bodies:
        client.xadd(route.source, {"message": body})


def pending(client: redis.Redis, route: IncomingRoute) -> int:
    return int(client.xpending(route.source, route.group)["pending"])


async def test_each_entry_reaches_the_topic_that_it_names(
    redis_client: redis.Redis, topic: str
) -> None:
    route = from_stream(new_name("stream"))
    async with consuming(route):
        redis_client.xadd(route.source, {"topic": f"{topic}/1", "message": "one"})
        redis_client.xadd(route.source, {"topic": f"{topic}/2", "message": '"two"'})
        assert await published(f"{topic}/1", 1) == [b"one"]
        assert await published(f"{topic}/2", 1) == [b'"two"']
        await eventually(lambda: pending(redis_client, route) == 0)


async def test_what_was_appended_before_the_first_bridge_ran_counts(
    redis_client: redis.Redis, route: IncomingRoute, topic: str
) -> None:
    add(redis_client, route, *"abc")
    async with consuming(route):
        assert await published(topic, 3) == [b"a", b"b", b"c"]


async def test_what_others_have_read_and_not_acknowledged_is_carried_first_and_in_order(
    redis_client: redis.Redis, route: IncomingRoute, topic: str
) -> None:
    add(redis_client, route, *"abcdef")
    redis_client.xgroup_create(route.source, route.group, "0")
    for consumer in ("one", "two", "one"):
        redis_client.xreadgroup(route.group, consumer, {route.source: ">"}, count=1)
    async with consuming(route):
        assert await published(topic, 6) == [b"a", b"b", b"c", b"d", b"e", b"f"]
        await eventually(lambda: pending(redis_client, route) == 0)


async def test_what_a_former_holder_takes_away_is_carried_before_what_comes_after_it(
    redis_client: redis.Redis, route: IncomingRoute, topic: str
) -> None:
    async with consuming(route):
        for number in range(30):
            # Whoever is first: the bridge, or one who was asleep and goes on reading.
            add(redis_client, route, f"{number}")
            redis_client.xreadgroup(route.group, "asleep", {route.source: ">"}, count=1)
        assert await published(topic, 30) == [b"%d" % number for number in range(30)]
        await eventually(lambda: pending(redis_client, route) == 0)


async def test_pending_entries_that_were_deleted_hold_up_nothing(
    redis_client: redis.Redis, route: IncomingRoute, topic: str
) -> None:
    add(redis_client, route, *"abc")
    redis_client.xgroup_create(route.source, route.group, "0")
    [[_, entries]] = redis_client.xreadgroup(route.group, "one", {route.source: ">"})
    redis_client.xdel(route.source, entries[1][0])
    async with consuming(route):
        assert await published(topic, 2) == [b"a", b"c"]
        await eventually(lambda: pending(redis_client, route) == 0)


@pytest.mark.parametrize("what", ["group", "stream"])
async def test_a_group_or_a_stream_that_is_deleted_is_made_again(
    redis_client: redis.Redis,
    route: IncomingRoute,
    topic: str,
    what: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with consuming(route):
        add(redis_client, route, *"ab")
        await published(topic, 2)
        await eventually(lambda: pending(redis_client, route) == 0)
        if what == "group":
            redis_client.xgroup_destroy(route.source, route.group)
        else:
            redis_client.delete(route.source)
        add(redis_client, route, *"cd")
        assert await published(topic, 4) == [b"a", b"b", b"c", b"d"]
        await eventually(lambda: pending(redis_client, route) == 0)
    assert "NOGROUP" not in caplog.text
    assert status(route)["errors"] == "0"


def add_with_ids(client: redis.Redis, route: IncomingRoute, **bodies: str) -> None:
    for id, body in bodies.items():
        client.xadd(route.source, {"message": body}, id=f"{id.removeprefix('_')}-0")


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("grown", [True, False])
@pytest.mark.parametrize("by", ["us", "others"])
async def test_a_stream_that_is_begun_anew_with_smaller_ids_is_published(
    redis_client: redis.Redis,
    route: IncomingRoute,
    topic: str,
    running: bool,
    grown: bool,
    by: str,
) -> None:
    def begin_anew() -> None:
        with redis_client.pipeline() as pipeline:  # at once, so nobody sees it missing
            pipeline.delete(route.source)
            if by == "others":
                pipeline.xgroup_create(route.source, route.group, "0", mkstream=True)
            for id, body in zip((1, 4, 9) if grown else (1, 2, 3), "cde", strict=True):
                pipeline.xadd(route.source, {"message": body}, id=f"{id}-0")
            pipeline.execute()

    async with consuming(route):
        add_with_ids(redis_client, route, _3="a", _4="b")
        await published(topic, 2)
        await eventually(lambda: pending(redis_client, route) == 0)
        await eventually(lambda: status(route).get("newest", "").startswith("4-0 "))
        if running:
            begin_anew()
            assert await published(topic, 5) == [b"a", b"b", b"c", b"d", b"e"]
    if not running:
        begin_anew()
    async with consuming(route):
        assert await published(topic, 5) == [b"a", b"b", b"c", b"d", b"e"]
        await eventually(lambda: pending(redis_client, route) == 0)
    async with consuming(route):  # and another owner goes on in this life
        redis_client.xadd(route.source, {"message": "f"}, id="10-0")
        assert await published(topic, 6) == [b"a", b"b", b"c", b"d", b"e", b"f"]


async def test_a_stream_that_is_trimmed_is_the_same_stream(
    redis_client: redis.Redis, route: IncomingRoute, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    for count, bodies in ((2, "ab"), (4, "cd")):
        async with consuming(route):
            add(redis_client, route, *bodies)
            await published(topic, count)
            await eventually(lambda: pending(redis_client, route) == 0)
        redis_client.xtrim(route.source, maxlen=0)
    assert status(route)["newest"] != " "
    assert "begun anew" not in caplog.text


async def test_two_bridges_carry_each_entry_once(
    redis_client: redis.Redis, route: IncomingRoute, topic: str
) -> None:
    async with consuming(route), consuming(route) as second:
        add(redis_client, route, *"ab")
        assert await published(topic, 2) == [b"a", b"b"]
        second.cancel()
        await asyncio.wait([second])
        add(redis_client, route, "c")
        assert await published(topic, 3) == [b"a", b"b", b"c"]


async def test_an_idempotency_key_makes_a_repeat_the_same_message(
    redis_client: redis.Redis, route: IncomingRoute, topic: str
) -> None:
    async with consuming(route):
        for body, key in (("a", "1"), ("repeat", "1"), ("b", "2")):
            redis_client.xadd(route.source, {"message": body, "idempotency-key": key})
        assert await published(topic, 2) == [b"a", b"b"]
        await eventually(lambda: pending(redis_client, route) == 0)


async def test_the_status_says_what_was_carried_and_put_aside_over_all_holders(
    redis_client: redis.Redis, route: IncomingRoute, topic: str
) -> None:
    for round in (1, 2):
        async with consuming(route):
            add(redis_client, route, *"abc")
            redis_client.xadd(route.source, {"other": "field"})
            await published(topic, 3 * round)
            await eventually(lambda round=round: len(dead_letters(route)) == round)
        assert (status(route)["carried"], status(route)["put_aside"]) == (
            str(3 * round),
            str(round),
        )
    assert float(status(route)["since"]) <= float(status(route)["updated"])
    assert ":" in status(route)["holder"]


async def test_a_stream_that_is_no_stream_is_told_and_asked_again(
    redis_client: redis.Redis, route: IncomingRoute, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with consuming(route):
        add(redis_client, route, "a")
        await published(topic, 1)
        redis_client.set(route.source, "no stream")
        await eventually(lambda: "WRONGTYPE" in caplog.text)
        redis_client.delete(route.source)
        add(redis_client, route, "b")
        assert await published(topic, 2) == [b"a", b"b"]


async def test_a_bridge_that_ends_while_it_reads_leaves_no_traceback(
    route: IncomingRoute, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = pipeline_to(route.url)
    reader = _Reader(Publisher(route, Lease(route.id, pipeline), pipeline))
    reading = reader._submit("BLPOP", new_name("nothing"), "0")
    await asyncio.sleep(0)
    reading.cancel()
    await reader.aclose()
    await asyncio.sleep(0)
    assert caplog.text == ""
    await pipeline.aclose()
