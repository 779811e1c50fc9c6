"""The scripts as Redis runs them: keys and arguments in, bytes out."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from realtime.layer.scripts import PUBLISH, READ

#: A position and entries, as for a section.
KEYS = ("{a}:position", "{a}:entries")
OTHER_KEYS = ("{b}:position", "{b}:entries")
ONCE = "{a}:position:once:key"


@pytest.fixture
def client(redis_client: redis.Redis) -> Iterator[redis.Redis]:
    names = (*KEYS, *OTHER_KEYS, ONCE)
    redis_client.delete(*names)
    yield redis_client
    redis_client.delete(*names)


def section(
    *messages: tuple[bytes, str, str],
    after: str = "",
    size: int = 10,
    ttl: int = 60_000,
    route: str = "",
    token: int = 0,
    channels: tuple[str, ...] = ("heard",),
) -> list[Any]:
    flat = [part for message in messages for part in message]
    head = [after, size, ttl, route, token, len(channels), *channels]
    return [*head, len(messages), *flat]


def call(client: redis.Redis, *arguments: Any, keys: tuple[str, ...] = KEYS, run: str = "1") -> Any:
    return client.eval(PUBLISH.text, len(keys), *keys, run, *arguments)


def offsets(ids: list[bytes]) -> list[int]:
    return [int(id.rpartition(b"-")[2]) for id in ids]


def test_a_section_appends_and_announces_as_one_bundle(client: redis.Redis) -> None:
    with client.pubsub() as heard:
        heard.subscribe("heard")
        heard.get_message(timeout=15)
        ((first, second),) = call(client, *section((b"one", "", ""), (b"three", "", "")))
        message = heard.get_message(timeout=15)
    assert offsets([first, second]) == [1, 2]
    assert message is not None
    bundle = struct.pack(">I3s", 3, b"one") + struct.pack(">I5s", 5, b"three")
    assert message["data"] == b"\x01" + first + b"\n" + bundle
    entries = client.xrange(KEYS[1])
    assert [fields for _, fields in entries] == [{b"d": b"one"}, {b"d": b"three"}]
    assert [id.rpartition(b"-")[2] for id, _ in entries] == [b"1", b"2"]
    assert 60_000 < client.pttl(KEYS[1]) <= 120_000


def test_a_small_history_takes_no_more_memory_than_it_needs(client: redis.Redis) -> None:
    for number in range(3):
        call(client, *section((b"%d" % number, "", "")))
    assert sum(client.memory_usage(key) for key in KEYS) < 800
    assert client.keys("{a}*:copy") == []
    assert [fields[b"d"] for _, fields in client.xrange(KEYS[1])] == [b"0", b"1", b"2"]


@pytest.mark.parametrize(
    ("ttl", "life"), [(1, 3600), (300, 3600), (301, 3612), (86_400, 1_036_800)]
)
def test_a_position_outlives_its_newest_entry_by_an_hour_or_twelve_times_its_ttl(
    client: redis.Redis, ttl: int, life: int
) -> None:
    call(client, *section((b"1", "", ""), ttl=1000 * ttl))
    assert life <= client.ttl(KEYS[0]) <= life * 13 / 12
    client.pexpire(KEYS[1], 1000 * ttl - 1)  # a ttl later
    client.expire(KEYS[0], life)
    call(client, *section((b"2", "", ""), ttl=1000 * ttl))
    assert life < client.ttl(KEYS[0]) <= life * 13 / 12


def test_reading_renews_a_position_that_is_there(client: redis.Redis) -> None:
    call(client, *section((b"1", "", "")))
    client.expire(KEYS[0], 3500)
    client.eval(READ.text, 2, *KEYS, "1", 0, 60_000)
    assert client.ttl(KEYS[0]) > 3600


@pytest.mark.parametrize("size", [0, 10])
def test_what_came_by_a_bridge_is_remembered_for_30_days_whoever_publishes_after_it(
    client: redis.Redis, size: int
) -> None:
    call(client, *section((b"0", "", ""), size=10))
    call(client, *section((b"1", "", "1"), size=size, route="r", token=7))
    client.persist(KEYS[1])
    call(client, *section((b"2", "", ""), size=10))
    assert 29 * 86_400 < client.ttl(KEYS[0]) <= 30 * 86_400


def test_without_a_history_nothing_is_kept_and_ids_are_those_given(client: redis.Redis) -> None:
    ((id,),) = call(client, *section((b"one", "given", ""), size=0))
    assert id == b"given"
    assert not client.exists(*KEYS)


def test_so_many_are_kept_and_offsets_go_on(client: redis.Redis) -> None:
    messages = [(b"%d" % number, "", "") for number in range(5)]
    (ids,) = call(client, *section(*messages, size=2))
    assert offsets(ids) == [1, 2, 3, 4, 5]
    assert [fields[b"d"] for _, fields in client.xrange(KEYS[1])] == [b"3", b"4"]


def test_another_run_begins_another_epoch_and_says_where_the_old_one_ended(
    client: redis.Redis,
) -> None:
    ((old,),) = call(client, *section((b"one", "", "")))
    ((new,),) = call(client, *section((b"two", "", "")), run="2")
    assert offsets([old, new]) == [1, 2]
    epoch = old.rpartition(b"-")[0]
    assert new.rpartition(b"-")[0] != epoch
    assert client.hget(KEYS[0], "ended").split()[-1] == epoch + b":1"
    for run in range(3, 50):
        call(client, *section((b"", "", "")), run=str(run))
    ended = client.hget(KEYS[0], "ended").split()
    assert len(ended) == 32
    assert ended[-1].endswith(b":48")


def test_entries_are_published_once_and_in_order(client: redis.Redis) -> None:
    route = {"route": "r", "token": 7}
    ((first, second),) = call(client, *section((b"1", "", "1"), (b"2", "", "2"), **route))
    assert offsets([first, second]) == [1, 2]
    ((again, new),) = call(client, *section((b"2", "", "2"), (b"3", "", "3"), **route))
    assert again == b""
    assert offsets([new]) == [3]
    assert call(client, *section((b"5", "", "5"), after="4", **route)) == [[0]]
    assert client.hget(KEYS[0], "entry:r") == b"3"
    assert client.hget(KEYS[0], "fence:r") == b"7"


def test_who_has_a_smaller_token_is_fenced_and_the_next_section_is_not(
    client: redis.Redis,
) -> None:
    call(client, *section((b"1", "", "1"), route="r", token=7))
    late = section((b"2", "", "2"), route="r", token=6)
    others = section((b"3", "", ""))
    fenced, ids = call(client, *late, *others, keys=KEYS + OTHER_KEYS)
    assert isinstance(fenced, redis.ResponseError)
    assert "FENCED r" in f"FENCED {fenced}" or "r has another holder" in str(fenced)
    assert offsets(ids) == [1]
    assert client.xlen(KEYS[1]) == 1


def test_a_section_that_fails_hurts_no_other(client: redis.Redis) -> None:
    client.set(KEYS[1], "not a stream")
    client.hset(KEYS[0], mapping={"epoch": "e", "offset": 1, "run": "1"})
    failed, ids = call(
        client, *section((b"1", "", "")), *section((b"2", "", "")), keys=KEYS + OTHER_KEYS
    )
    assert isinstance(failed, redis.ResponseError)
    assert "WRONGTYPE" in f"{type(failed)} {failed}" or "wrong kind" in str(failed)
    assert offsets(ids) == [1]


def test_a_key_that_was_used_publishes_nothing_and_answers_as_the_first_time(
    client: redis.Redis,
) -> None:
    keys = (*KEYS, ONCE)
    first = call(client, *section((b"1", "", "")), keys=keys)
    assert call(client, *section((b"1", "", "")), keys=keys) == first
    assert client.xlen(KEYS[1]) == 1
    assert 0 < client.ttl(ONCE) <= 300


def test_reading_tells_where_a_history_stands_and_its_newest_entries(client: redis.Redis) -> None:
    call(client, *section((b"1", "", ""), (b"2", "", "")))
    epoch, offset, ended, now, entries = client.eval(READ.text, 2, *KEYS, "1", 1, 60_000)
    assert (len(epoch), offset, client.hget(KEYS[0], "ended")) == (16, 2, ended)
    assert [fields for _, fields in entries] == [[b"d", b"2"]]
    assert int(now) > 0
    *_, none = client.eval(READ.text, 2, *KEYS, "1", 0, 60_000)
    assert none == []
