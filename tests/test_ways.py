"""The ways of requests: how many files of the gateway each of them enters, and how many calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from uuid import uuid4

import pytest
import redis

from realtime.destinations.groups import group_name
from realtime.stomp import Frame, encode
from tests.kit.clients import TIMEOUT, StompClient
from tests.kit.processes import manage
from tests.kit.ways import TracedGateway, Way, shortest

#: The most files that a request may enter and, of a burst, the most calls for each message; some
#: calls more or less, as the replies of Redis are cut. Whoever shortens a way lowers its bound.
BOUNDS = {"SEND": 14, "MESSAGE": 9, "SUBSCRIBE": 17, "RESUME": 20, "burst": 30.0}

#: How often each way is gone to warm up, and how often then. The shortest counts: into the others
#: the gateway's clocks and checks may have fallen.
WARM_UP = 1
REPEATS = 7

BURST = 100
BURST_RECEIPTS = 10
MISSED = 3

Walk = Callable[[], Awaitable[Way]]


@dataclass
class System:
    """
    Two gateways on one Redis: ``here`` is the client whose requests are followed, and a neighbour
    of it; ``there`` is the remote client.
    """

    here: TracedGateway
    there: TracedGateway
    client: StompClient
    neighbour: StompClient
    remote: StompClient
    redis: redis.Redis


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[TracedGateway]]:
    folders = [tmp_path_factory.mktemp(name) for name in ("here", "there")]
    variables = {
        "DEBUG": "1",
        "DATABASE_URL": f"sqlite:///{folders[0] / 'db.sqlite3'}",
    }
    manage("migrate", "-v", "0", **variables)
    with ExitStack() as stack:
        yield [stack.enter_context(TracedGateway(folder, **variables)) for folder in folders]


@pytest.fixture
async def system(gateways: list[TracedGateway], redis_client: redis.Redis) -> AsyncIterator[System]:
    here, there = gateways
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(StompClient(gateway.stomp))
            for gateway in (here, here, there)
        ]
        yield System(here, there, *clients, redis_client)


def new_topic() -> str:
    """Return a topic that nobody has used."""
    return f"/topic/ways/{uuid4().hex}"


async def known_topic(system: System) -> str:
    """Return a topic that was heard here once, so that its name is known, and nobody hears now."""
    topic = new_topic()
    await system.client.subscribe(topic, id=topic)
    await system.client.request("UNSUBSCRIBE", {"id": topic})
    channel = f"gateway__group__{group_name(topic)}"
    async with asyncio.timeout(TIMEOUT):
        while dict(system.redis.pubsub_numsub(channel))[channel.encode()]:
            await asyncio.sleep(0.01)
    return topic


async def repeated(walk: Walk) -> list[Way]:
    """Go a way until it is warm; return how it goes then, each time."""
    return [await walk() for _ in range(WARM_UP + REPEATS)][WARM_UP:]


def check(name: str, way: Way, bound: str) -> None:
    """Print a way and check that it enters no more files than it may."""
    print(f"\n{name}: {way}")
    assert 0 < len(way.files) <= BOUNDS[bound]


async def test_a_message_enters_few_files_where_it_is_sent_and_where_it_is_heard(
    system: System,
) -> None:
    topic = new_topic()
    await system.remote.subscribe(topic)
    heard: list[Way] = []

    async def walk() -> Way:
        async with system.there.trace() as hearing:
            async with system.here.trace() as sending:
                await system.client.request("SEND", {"destination": topic}, b"hello")
            await system.remote.message()
        heard.append(hearing)
        return sending

    check("SEND", shortest(await repeated(walk)), "SEND")
    check("MESSAGE", shortest(heard[WARM_UP:]), "MESSAGE")


@pytest.mark.parametrize("heard", [False, True], ids=["that nobody hears", "that somebody hears"])
async def test_a_subscribe_enters_few_files_for_a_topic(system: System, heard: bool) -> None:
    async def walk() -> Way:
        topic = await known_topic(system)
        if heard:
            await system.neighbour.subscribe(topic, id=topic)
        async with system.here.trace() as way:
            await system.client.subscribe(topic, id=topic)
        return way

    name = f"SUBSCRIBE, {'heard already' if heard else 'not heard yet'}"
    check(name, shortest(await repeated(walk)), "SUBSCRIBE")


@pytest.mark.parametrize("heard", [False, True], ids=["that nobody hears", "that somebody hears"])
async def test_a_resume_enters_few_files_for_a_topic(system: System, heard: bool) -> None:
    async def walk() -> Way:
        topic = await known_topic(system)
        if heard:
            await system.neighbour.subscribe(topic, id=topic)
        last, *_ = await publish(system.remote, topic)
        if heard:
            await message_ids(system.neighbour)
        async with system.here.trace() as way:
            await system.client.subscribe(topic, id=topic, **{"last-message-id": last})
            for _ in range(MISSED):
                await system.client.message()
        return way

    name = f"RESUME, {'heard already' if heard else 'not heard yet'}"
    check(name, shortest(await repeated(walk)), "RESUME")


async def publish(client: StompClient, topic: str) -> list[str]:
    """Publish a message and those that are missed after it; return their message-ids."""
    await client.subscribe(topic, id=topic)
    for _ in range(1 + MISSED):
        await client.request("SEND", {"destination": topic}, b"hello")
    return await message_ids(client)


async def message_ids(client: StompClient) -> list[str]:
    """Take what was published."""
    return [(await client.message()).headers["message-id"] for _ in range(1 + MISSED)]


async def test_a_burst_of_sends_takes_few_calls_for_each_message(system: System) -> None:
    topic = new_topic()
    await system.remote.subscribe(topic)

    async def walk() -> Way:
        async with system.here.trace() as way:
            await system.client.websocket.send(burst(topic))
            for _ in range(BURST_RECEIPTS):
                await system.client.frame("RECEIPT")
        for _ in range(BURST):
            await system.remote.message()
        return way

    calls = len(shortest(await repeated(walk)).calls) / BURST
    print(f"\nburst: {calls:.2f} calls for each message")
    assert 0 < calls <= BOUNDS["burst"]


def burst(topic: str) -> str:
    """Return SENDs of one WebSocket message: every tenth, and so the last, asks for a receipt."""
    every = BURST // BURST_RECEIPTS
    frames = []
    for number in range(1, BURST + 1):
        receipt = {"receipt": f"{number}"} if number % every == 0 else {}
        frames.append(Frame("SEND", {"destination": topic, **receipt}, b"%d" % number))
    return b"".join(map(encode, frames)).decode()
