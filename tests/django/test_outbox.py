"""Messages that are rows until they are published: in order, each once, whoever dies."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import msgpack
import pytest
import redis
from django.db import DatabaseError, transaction

from notifications.bridges.routes import IncomingRoute, incoming_routes
from notifications.bridges.runner import run_bridges
from notifications.bridges.status import read_status
from realtime import publish_on_commit
from realtime.destinations.groups import group_name
from realtime.django import outbox
from realtime.django.outbox import relay
from realtime.layer.pages import read_page
from realtime.layer.scripts import history_keys
from realtime.models import OutboxMessage, OutboxNumber
from realtime.redis import Fenced
from tests.django.conftest import bodies
from tests.kit.bridging import eventually
from tests.kit.outbox_writer import TOPICS, topic_of
from tests.kit.postgres import Postgres, needs_postgres
from tests.kit.processes import TIMEOUT, Process, manage, procfile

pytestmark = pytest.mark.django_db(transaction=True)

ROUTE = "outbox:default"
WRITER = f"{sys.executable} -m tests.kit.outbox_writer"
RELAY = f"{sys.executable} -m tests.kit.outbox_relay"


def write(*contents: str, topic: str = "/topic/a") -> None:
    with transaction.atomic():
        for content in contents:
            publish_on_commit(topic, content, {"note": content}, outbox=True)


def test_rows_are_published_in_their_order_and_removed() -> None:
    write("one", "two")
    write("three", topic="/topic/b")
    assert bodies("/topic/a") == []
    assert relay("default", ROUTE, 1) == 3
    assert (bodies("/topic/a"), bodies("/topic/b")) == (["one", "two"], ["three"])
    assert [message.headers["note"] for message in read_page("/topic/a").messages] == ["one", "two"]
    assert not OutboxMessage.objects.exists()
    assert relay("default", ROUTE, 1) == 0


def test_what_is_rolled_back_was_never_there() -> None:
    with transaction.atomic():
        publish_on_commit("/topic/a", "never", outbox=True)
        transaction.set_rollback(True)
    assert relay("default", ROUTE, 1) == 0


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_who_dies_before_they_are_removed_leaves_them_to_the_next(
    monkeypatch: pytest.MonkeyPatch, redis_client: redis.Redis, taken: int
) -> None:
    write("one", "two", "three")
    publish_many = outbox.publish_many

    def die(messages: Any, door: Any, fences: Any) -> Any:
        if taken:
            publish_many(messages[:taken], door, fences[:taken])
        raise DatabaseError("this process is dead")

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "publish_many", die)
        with pytest.raises(DatabaseError):
            relay("default", ROUTE, 1)
    # However late it is: the keys of idempotency would be gone.
    assert list(redis_client.scan_iter("{gateway__*:once:*")) == []
    write("four")
    assert relay("default", ROUTE, 2) == 4
    assert bodies("/topic/a") == ["one", "two", "three", "four"]


def test_a_row_that_is_committed_late_is_not_taken_for_one_that_was_published() -> None:
    write("late")
    late = OutboxMessage.objects.get()
    OutboxMessage.objects.all().delete()
    write("early")
    relay("default", ROUTE, 1)
    late.save(force_insert=True)  # with the lower id
    assert relay("default", ROUTE, 1) == 1
    assert bodies("/topic/a") == ["early", "late"]


def test_who_was_asleep_while_another_took_over_publishes_nothing() -> None:
    write("one")
    relay("default", ROUTE, 2)
    write("two")
    with pytest.raises(Fenced):
        relay("default", ROUTE, 1)
    relay("default", ROUTE, 2)
    assert bodies("/topic/a") == ["one", "two"]


def test_a_database_that_was_made_anew_loses_nothing() -> None:
    write("one")
    relay("default", ROUTE, 1)
    OutboxNumber.objects.all().delete()
    write("two")
    relay("default", ROUTE, 1)
    assert bodies("/topic/a") == ["one", "two"]


def test_there_may_be_more_than_one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "ROUND_ROWS", 2)
    write(*"12345")
    assert [relay("default", ROUTE, 1) for _ in range(4)] == [2, 2, 1, 0]
    assert bodies("/topic/a") == [*"12345"]


def test_without_redis_they_stay(settings: Any, request: pytest.FixtureRequest) -> None:
    write("one")
    layers = settings.CHANNEL_LAYERS
    request.getfixturevalue("redis_away")
    with pytest.raises(redis.RedisError):
        relay("default", ROUTE, 1)
    settings.CHANNEL_LAYERS = layers
    assert relay("default", ROUTE, 1) == 1
    assert bodies("/topic/a") == ["one"]


def test_what_can_t_be_published_any_more_stays_and_lets_the_others_pass(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    write("x" * 2000, "two")
    settings.STOMP_MAX_BODY_BYTES = 1000
    relay("default", ROUTE, 1)
    assert bodies("/topic/a") == ["two"]
    [row] = OutboxMessage.objects.all()
    assert row.problem == "a body of 2000 bytes is over the limit of 1000"
    assert f"message {row.pk} of the outbox stays there: a body of 2000" in caplog.text
    assert relay("default", ROUTE, 1) == 0
    settings.STOMP_MAX_BODY_BYTES = None
    OutboxMessage.objects.update(problem="")  # as the documents say
    relay("default", ROUTE, 1)
    assert len(bodies("/topic/a")) == 2


def test_an_outbox_that_nobody_relays_takes_nothing(settings: Any) -> None:
    settings.STOMP_OUTBOX = []
    with pytest.raises(ValueError, match="add it to STOMP_OUTBOX"):
        write("one")
    assert "outbox" not in {route.kind for route in incoming_routes()}


def test_a_key_is_not_for_what_is_published_once_anyway() -> None:
    with pytest.raises(ValueError, match="without an idempotency key"):
        publish_on_commit("/topic/a", "one", outbox=True, idempotency_key="k")


def test_operators_see_how_many_wait() -> None:
    write("one", "two")
    [status] = read_status([IncomingRoute("outbox", "default", "", "rows")])
    assert (status.id, status.lag, status.messages) == (ROUTE, 2, 0)


async def test_a_bridge_relays_them() -> None:
    route = IncomingRoute("outbox", "default", "", "rows")
    task = asyncio.create_task(run_bridges([route]))
    try:
        await asyncio.to_thread(write, "one", "two")
        assert await eventually(lambda: len(bodies("/topic/a")) == 2)
    finally:
        task.cancel()
        await asyncio.wait([task])


KILLS = int(os.environ.get("KILLS", "2"))

WRITERS = ("a", "b")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=needs_postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where an empty database is; transactions overlap on PostgreSQL alone."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/db.sqlite3"
        return
    with Postgres("secret") as server:
        yield server.url


@pytest.fixture
def variables(database_url: str, own_valkey: Any) -> dict[str, str]:
    """The environment of processes that have a database and a Redis of their own."""
    variables = {
        "DJANGO_SETTINGS_MODULE": "tests.kit.outbox_settings",
        "DATABASE_URL": database_url,
        "REDIS_URL": f"{own_valkey.connection_url}/0",
    }
    manage("migrate", "-v0", **variables)
    return variables


class Relays:
    """Two processes, all the time, that relay what others write."""

    def __init__(self, command: str, folder: Path, variables: dict[str, str]) -> None:
        self._command = command
        self._folder = folder
        self._variables = variables
        self._all: list[Process] = []
        self._writers = {name: self._begin(f"{WRITER} {name}", name) for name in WRITERS}
        self._start()
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in [*self._writers.values(), *self._all]:
            process.popen.kill()
            process.popen.wait()

    def _begin(self, command: str, log: str) -> Process:
        return Process(command, self._folder / log, **self._variables)

    def _start(self) -> None:
        self._all.append(self._begin(self._command, f"relay-{len(self._all)}"))

    def _which_said(self, text: str) -> list[Process]:
        """Return those that run and have said a text."""
        running = [each for each in self._all if each.popen.poll() is None]
        return [each for each in running if text in each.output]

    def kill(self, text: str) -> None:
        """Kill one that has said a text, at any moment after that, and start another."""
        wait_until(lambda: self._which_said(text))
        time.sleep(random.uniform(0, 0.4))
        killed = random.choice(self._which_said(text))
        killed.popen.kill()
        killed.popen.wait()
        self._start()

    def check(self, url: str) -> None:
        """See that all of what was committed came, each once and in order."""
        wanted = {}
        for name, writer in self._writers.items():
            assert writer.stop() == 0, writer.output
            committed = int(writer.output)
            assert committed > 100
            for number in range(TOPICS):
                wanted[topic_of(name, number)] = list(range(number, committed, TOPICS))
        assert settled(url, wanted) == wanted
        assert not [each.output for each in self._all if "Traceback" in each.output]


def test_each_comes_once_and_in_order_though_bridges_are_killed(
    tmp_path: Path, own_valkey: Any, variables: dict[str, str]
) -> None:
    with Relays(procfile("bridge"), tmp_path, variables) as relays:
        for _ in range(KILLS):
            relays.kill("consumed by this process")
        relays.check(own_valkey.connection_url)


def test_each_comes_once_and_in_order_though_two_relay_at_once_and_are_killed(
    tmp_path: Path, own_valkey: Any, variables: dict[str, str]
) -> None:
    """As if no lease were worth anything."""
    url = own_valkey.connection_url
    with Relays(RELAY, tmp_path, variables) as relays, redis.Redis.from_url(url) as client:
        for number in range(KILLS):
            wait_until(lambda number=number: int(client.get("token") or 0) > 10 * (number + 1))
            relays.kill("relayed")
        relays.check(url)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 2 * TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def numbers(client: redis.Redis, topic: str) -> list[int]:
    """Return what Redis has of a topic."""
    _, entries = history_keys(f"gateway__group__{group_name(topic)}")
    bodies = [msgpack.unpackb(fields[b"d"])["body"] for _, fields in client.xrange(entries)]
    return list(map(int, bodies))


def settled(url: str, wanted: dict[str, list[int]]) -> dict[str, list[int]]:
    """Return the numbers on topics, a second after they were as wanted, or when they can't be."""
    deadline = time.monotonic() + 60
    with redis.Redis.from_url(url) as client:
        while (found := {topic: numbers(client, topic) for topic in wanted}) != wanted:
            if time.monotonic() > deadline:
                return found
            time.sleep(0.1)
        time.sleep(1)
        return {topic: numbers(client, topic) for topic in wanted}
