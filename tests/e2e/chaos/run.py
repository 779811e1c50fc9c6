"""One run: the processes, and what happens to them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import redis

from tests.conftest import free_port
from tests.e2e.chaos.clients import Client
from tests.e2e.chaos.model import Topic
from tests.e2e.chaos.publishers import Publisher
from tests.e2e.chaos.reckoning import TRUE_SHARE, faults_of, is_behind, summary_of
from tests.e2e.chaos.valkey import Valkey, look_into
from tests.kit.processes import Gateway, manage

CLIENTS: Final = 200
#: Messages a second, of each topic; the last has few clients, so that gateways leave it and join.
RATES: Final = (40, 8, 8, 8, 4, 4, 1, 0.2, 4)
FEW: Final = 3
PROGRESS_SECONDS: Final = 5.0
SETTLE_SECONDS: Final = 90.0
PATIENCE_SECONDS: Final = 8.0
RECOVERY_SECONDS: Final = 10.0
RECOVERY_MESSAGES: Final = 50

#: Something that can happen.
Event = Callable[[], Awaitable[None]]


class Failed(Exception):
    """Something does not fit the model."""


class Chaos:
    """
    All that takes part, and what can happen to it.

    Args:
        folder: Where the data, copies and outputs are.
    """

    def __init__(self, folder: Path) -> None:
        self._start = time.monotonic()
        self.folder = folder
        self.valkey = Valkey(folder / "valkey", free_port())
        self.topics = [Topic(f"/topic/chaos/{number}") for number in range(len(RATES))]
        self.gateways: list[Gateway] = []
        self.publishers: list[Publisher] = []
        self.clients: list[Client] = []
        self.events: list[str] = []
        self.counts: Counter[str] = Counter()
        self._variables = {
            "DEBUG": "1",
            "STOMP_ROUTING": "tests.e2e.chaos.routing",
            "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
            "REDIS_URL": self.valkey.url,
        }

    def clock(self) -> float:
        return time.monotonic() - self._start

    # Beginning and end

    async def begin(self) -> None:
        """Start the processes, then clients and publishers."""
        await asyncio.to_thread(self.valkey.start)
        await self.copy_redis()
        await asyncio.to_thread(manage, "migrate", "-v", "0", **self._variables)
        for number in range(2):
            self.gateways.append(await asyncio.to_thread(self._gateway, number, None))
        urls = [gateway.stomp for gateway in self.gateways]
        for number in range(CLIENTS):
            topic = self.topics[number % (len(RATES) - 1) if number >= FEW else -1]
            client = Client(f"client {number}", topic, urls, self.clock)
            client.acknowledges = number % 10 == 0
            self.clients.append(client)
        for topic, rate in zip(self.topics, RATES, strict=True):
            self.publishers.append(Publisher(topic, self.gateways, rate))

    def end(self) -> None:
        """Kill what is left."""
        for gateway in self.gateways:
            gateway.popen.kill()
            gateway.popen.wait()
        self.valkey.kill()

    def _gateway(self, number: int, port: int | None) -> Gateway:
        return Gateway(self.folder / f"gateway{number}", port=port, **self._variables)

    # What can happen

    async def kill_redis(self) -> None:
        """It comes back with all that was acknowledged."""
        await self._another_run(None, keep=True)

    async def lose_redis(self) -> None:
        """It comes back with nothing."""
        await self._another_run(None, keep=False)

    async def copy_redis(self) -> None:
        await asyncio.to_thread(self.valkey.copy_to, self.folder / "copy")

    async def roll_back_redis(self) -> None:
        """It comes back with what was copied earlier."""
        await self._another_run(self.folder / "copy", keep=False)

    async def fail_over_redis(self) -> None:
        """A replica takes over that has lost its link a while ago."""
        folder = self.folder / f"valkey-{self.counts['fail over redis'] + 1}"
        replica = await asyncio.to_thread(self.valkey.replicate, folder)
        await asyncio.sleep(random.uniform(0, 2))
        failed, self.valkey = self.valkey, replica
        failed.kill()
        await asyncio.to_thread(self._look_into, failed.folder)
        await asyncio.to_thread(self._look)
        await asyncio.to_thread(replica.take_over, failed.port)

    async def freeze_redis(self) -> None:
        """Commands wait for it; some for longer than anybody waits for an answer."""
        seconds = random.choice([random.uniform(0.2, 3), random.uniform(0.2, 8)])
        await asyncio.to_thread(self.valkey.freeze, seconds)

    async def kill_subscribers(self) -> None:
        await asyncio.to_thread(self.valkey.execute, "CLIENT", "KILL", "TYPE", "pubsub")

    async def kill_connections(self) -> None:
        await asyncio.to_thread(self.valkey.execute, "CLIENT", "KILL", "TYPE", "normal")

    async def kill_gateway(self) -> None:
        number = random.randrange(len(self.gateways))
        killed = self.gateways[number]
        killed.popen.kill()
        await asyncio.to_thread(killed.popen.wait)
        await asyncio.sleep(random.uniform(0, 2))
        self.gateways[number] = await asyncio.to_thread(self._gateway, number, killed.port)

    async def cut_clients(self) -> None:
        for client in random.sample(self.clients, CLIENTS // 4):
            client.cut()

    async def _another_run(self, copy: Path | None, *, keep: bool) -> None:
        """Kill Redis, note what it held, and start it with that, a copy or nothing."""
        self.valkey.kill()
        await asyncio.to_thread(self._look_into, self.valkey.folder)
        if not keep:
            await asyncio.to_thread(self.valkey.put_back, copy)
            await asyncio.to_thread(self._look_into, self.valkey.folder)
        await asyncio.sleep(random.choice([0, random.uniform(0, 3)]))
        await asyncio.to_thread(self.valkey.start)

    def _look_into(self, folder: Path) -> None:
        states = look_into(folder, [topic.name for topic in self.topics])
        for topic in self.topics:
            topic.found(*states[topic.name], "Redis")

    # Going on

    async def happen(self, often: dict[Event, int], end: float) -> None:
        """Let each thing happen so often, in any order, again and again until the end."""
        deck: list[Event] = []
        while self.clock() < end:
            if not deck:
                deck = [event for event, times in often.items() for _ in range(times)]
                random.shuffle(deck)
            if random.random() < 0.7:
                await self._recovered()
            await asyncio.sleep(random.choice([random.uniform(0, 1), random.uniform(1, 7)]))
            await self._happen(deck.pop())

    async def _recovered(self) -> None:
        """Wait until publishing goes on, for a while: machines differ in how long that takes."""
        deadline = self.clock() + RECOVERY_SECONDS
        enough = self._acknowledged() + RECOVERY_MESSAGES
        while self.clock() < deadline and self._acknowledged() < enough:
            await asyncio.sleep(0.1)

    def _acknowledged(self) -> int:
        return sum(len(topic.acknowledged) for topic in self.topics)

    async def _happen(self, event: Event) -> None:
        name = event.__name__.replace("_", " ")
        began = self.clock()
        with contextlib.suppress(redis.RedisError):  # Redis is away just now
            await event()
        self.counts[name] += 1
        self.events.append(f"{began:.2f}-{self.clock():.2f} s: {name}")

    async def happen_to_all(self, seconds: float) -> None:
        """Let things happen to Redis, and others meanwhile to all the rest, for so long."""
        end = self.clock() + seconds
        to_redis: dict[Event, int] = {
            self.kill_redis: 5, self.copy_redis: 3, self.roll_back_redis: 1, self.lose_redis: 1,
            self.freeze_redis: 2, self.fail_over_redis: 1,
        }  # fmt: skip
        to_others: dict[Event, int] = {
            self.kill_subscribers: 4, self.kill_connections: 2, self.kill_gateway: 2,
            self.cut_clients: 2,
        }  # fmt: skip
        await asyncio.gather(self.happen(to_redis, end), self.happen(to_others, end))

    async def report(self) -> None:
        """Print how far it is, again and again."""
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            print(self.summary(), flush=True)

    def summary(self) -> str:
        figures = summary_of(self.topics, self.clients)
        return f"{self.clock():.0f} s: {figures}; events {dict(self.counts)}"

    async def settle(self) -> None:
        """
        Let everybody come to the end of its topic, if it can. Who resumed without a receipt hears
        what became of it with the next message only, so there is a last one until all are there.
        """
        for client in self.clients:
            client.settling = True
        deadline = self.clock() + SETTLE_SECONDS
        while self.clock() < deadline and any(map(is_behind, self.clients)):
            await asyncio.gather(*(publisher.publish_burst(1) for publisher in self.publishers))
            await asyncio.to_thread(self._look)
            patience = self.clock() + PATIENCE_SECONDS
            while self.clock() < patience and any(map(is_behind, self.clients)):
                await asyncio.sleep(0.1)

    def _look(self) -> None:
        states = self.valkey.look(topic.name for topic in self.topics)
        for topic in self.topics:
            topic.found(*states[topic.name], "Redis")


async def run(folder: Path, seconds: float, seed: int, true_share: float = TRUE_SHARE) -> str:
    """
    Let chaos rule for so long; return a summary.

    Args:
        true_share: How many of those who come back have to get everything, at least.

    Raises:
        Failed: If something does not fit the model; it says all about it.
    """
    print(f"seed {seed}", flush=True)
    random.seed(seed)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32))
    chaos = Chaos(folder)
    tasks = []
    try:
        await chaos.begin()
        tasks = [asyncio.create_task(client.live()) for client in chaos.clients]
        publishing = [asyncio.create_task(each.publish()) for each in chaos.publishers]
        tasks += [*publishing, asyncio.create_task(chaos.report())]
        await chaos.happen_to_all(seconds)
        for publisher in chaos.publishers:
            publisher.ending.set()
        await asyncio.gather(*publishing)
        await chaos.settle()
        _check(chaos, seed, tasks, true_share)
        return chaos.summary()
    finally:
        for client in chaos.clients:
            client.leaving.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(chaos.end)


def _check(chaos: Chaos, seed: int, tasks: list[asyncio.Task[None]], true_share: float) -> None:
    faults = [
        f"{task.exception()!r}" for task in tasks if task.done() and task.exception() is not None
    ]
    faults += faults_of(chaos.topics, chaos.clients, true_share)
    if faults:
        trees = [f"{topic.name}: {topic.parents}" for topic in chaos.topics]
        raise Failed("\n".join([f"seed {seed}", *chaos.events, *trees, chaos.summary(), *faults]))
