"""
What docker-compose.yml starts, with two workers for each gateway, a second bridge and Redis behind
sentinels: clients over TLS go on while everything is restarted, Redis fails over and PostgreSQL is
away. ``make production`` has a thousand of them, CI a hundred.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import redis
import websockets

from realtime.stomp import Frame
from tests.e2e.production_routing import STREAM, STREAMED
from tests.kit.browser_of_https import Browser
from tests.kit.deployment import make_secrets, needs
from tests.kit.environment import free_port
from tests.kit.postgres import Postgres, needs_postgres
from tests.kit.processes import TIMEOUT, Process
from tests.kit.stack import Stack, proxy, token_of_olga
from tests.kit.valkeys import PASSWORD, PRIMARY, Watched, closing

pytestmark = [needs_postgres, needs("openssl"), needs("nginx")]

#: How many clients, and whether for long.
CLIENTS: Final = int(os.environ.get("PRODUCTION_CLIENTS", "100"))
LONG: Final = CLIENTS >= 1000
#: Seconds for which PostgreSQL is away.
AWAY_SECONDS: Final = 20 if LONG else 6
WORKERS: Final = 2

POSTED: Final = [f"/topic/production/posted-{number}" for number in range(6)]
SENT: Final = [f"/topic/production/sent-{number}" for number in range(3)]
TOPICS: Final = [*POSTED, *SENT, STREAMED]
#: The containers, and the services that they are of.
GATEWAYS: Final = {"gateway1": "gateway1", "gateway2": "gateway2"}
SERVICES: Final = {**GATEWAYS, "bridge": "bridge", "bridge2": "bridge"}

#: What a client sees of a gateway or a proxy that ends.
CUT: Final = (websockets.WebSocketException, OSError, TimeoutError, EOFError)


class Production:
    """All processes, by the names of their containers."""

    def __init__(self, folder: Path, ends: ExitStack, wait: int) -> None:
        self.waits = wait == 1
        secrets = make_secrets(folder / "secrets")
        password = (secrets / "database_password").read_text().strip()
        self.postgres = ends.enter_context(Postgres(password))
        self.redis = ends.enter_context(closing(Watched(folder / "redis")))
        (secrets / "redis_url").write_text(self.redis.url)
        self.stack = Stack(
            folder, self.postgres, ALLOWED_HOSTS="localhost", WORKERS=str(WORKERS),
            STOMP_PUBLISH_WAIT=str(wait), STOMP_ROUTING="tests.e2e.production_routing",
        )  # fmt: skip
        self.stack.run("migrate")
        self.processes: dict[str, Process] = {}
        for name in SERVICES:
            ends.callback(lambda name=name: self.processes[name].stop())
            self.start(name)
        self._begin_nginx(folder, ends)
        self.token = token_of_olga(self.stack)

    def _begin_nginx(self, folder: Path, ends: ExitStack) -> None:
        before = proxy(self.stack, "nginx", folder)
        plain, port = free_port(), free_port()
        file = before.write(plain, port)
        few, many = "worker_connections 500;", "worker_connections 5000;"
        file.write_text(file.read_text().replace(few, many))
        tls = ssl.create_default_context(cafile=self.stack.secrets / "tls" / "fullchain.pem")
        self.nginx = ends.enter_context(Process(before.command(file), folder / "nginx.log"))
        self.browser = Browser(port, plain, tls)
        deadline = time.monotonic() + TIMEOUT
        while not self.browser.answers():
            assert time.monotonic() < deadline, self.nginx.output
            time.sleep(0.1)

    def start(self, name: str) -> None:
        """Start a container; return when all workers of a gateway listen."""
        due = len(self.lines(name, "listening")) + WORKERS
        process = self.processes[name] = self.stack.start(SERVICES[name], name)
        deadline = time.monotonic() + TIMEOUT
        while name in GATEWAYS and len(self.lines(name, "listening")) < due:
            assert process.popen.poll() is None, process.output
            assert time.monotonic() < deadline, process.output
            time.sleep(0.1)

    def restart(self, name: str) -> None:
        """Replace a container by a new one."""
        self.processes[name].stop()
        self.start(name)

    def lines(self, name: str, text: str) -> list[Any]:
        """Return the lines of a container's log that have a text."""
        log = self.stack.folder / f"{name}.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [json.loads(line) for line in lines if text in line]


@pytest.fixture(params=[1, 0] if LONG else [1])
def production(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Production]:
    with ExitStack() as ends:
        yield Production(tmp_path, ends, request.param)


class Listener:
    """A client that follows a topic, comes back when it is cut, and says where it was."""

    def __init__(self, production: Production, number: int) -> None:
        self._production = production
        self._address = f"127.0.1.{number % 200 + 1}"
        self.topic = TOPICS[number % len(TOPICS)]
        #: The numbers of the messages, None where the gateway said that some are lost.
        self.heard: list[int | None] = []
        self.resumed = 0
        self.position = ""
        self.there = asyncio.Event()
        self.leaving = False

    @property
    def last(self) -> int | None:
        """The number of the last message."""
        return self.heard[-1] if self.heard else None

    async def live(self) -> None:
        """Follow the topic until it is over."""
        while not self.leaving:
            with contextlib.suppress(*CUT):
                browser, token = self._production.browser, self._production.token
                async with browser.stomp(token, self._address) as stomp:
                    await self._follow(stomp)
            await asyncio.sleep(random.uniform(0.2, 3))

    async def _follow(self, stomp: Any) -> None:
        headers = {"destination": self.topic, "id": "0", "receipt": "subscribed"}
        if self.position:
            headers["last-message-id"] = self.position
        await stomp.send("SUBSCRIBE", headers)
        receipt = await stomp.frame()
        if receipt.command != "RECEIPT":
            return
        if self.position:
            self.resumed += 1
            self._note_loss(receipt)
        self.position = receipt.headers["position"]
        self.there.set()
        while not self.leaving:
            frame = await stomp.frame(seconds=300)
            if frame.command != "MESSAGE":
                return
            self._note_loss(frame)
            self.position = frame.headers["message-id"]
            if frame.body:
                self.heard.append(int(frame.body))

    def _note_loss(self, frame: Frame) -> None:
        if frame.headers.get("recovered") == "false":
            self.heard.append(None)

    def faults(self, acknowledged: set[int], told: bool) -> Iterator[str]:
        """
        Say what is wrong: a number twice or late, or one that is missing.

        Args:
            told: Whether what is missing may be, where the client was told so.
        """
        runs: list[list[int]] = [[]]
        for number in self.heard:
            if number is None:
                runs.append([])
            else:
                runs[-1].append(number)
        for run in runs:
            if any(a >= b for a, b in zip(run, run[1:], strict=False)):
                yield f"{self.topic}: out of order, {run}"
        whole = [[number for run in runs for number in run]]
        for run in filter(None, runs if told else whole):
            missing = {n for n in acknowledged if min(run) < n < max(run)} - set(run)
            if missing:
                yield f"{self.topic}: lost {sorted(missing)}, {self.resumed} resumes"


class Publisher:
    """Publishes numbers to a topic, and knows which were acknowledged."""

    def __init__(self, production: Production, topic: str) -> None:
        self.production = production
        self.topic = topic
        self.acknowledged: set[int] = set()
        self.number = 0
        self.ending = asyncio.Event()

    async def publish(self) -> None:
        """Publish until it is to end."""
        while not self.ending.is_set():
            await self.publish_one()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), random.uniform(0.3, 0.7))

    async def publish_one(self) -> bool:
        """Publish the next number; return whether it was acknowledged."""
        self.number += 1
        number = self.number
        try:
            taken = await self._way(number)
        except (*CUT, redis.RedisError):
            taken = False
        if taken:
            self.acknowledged.add(number)
        else:
            await asyncio.sleep(1)  # what was under way has reached Redis, or never will
        return taken

    async def finish(self) -> int:
        """Publish one that is acknowledged; return its number."""
        async with asyncio.timeout(60):
            while not await self.publish_one():
                pass
        return self.number

    async def leave(self) -> None:
        """End a connection that is kept."""

    async def _way(self, number: int) -> bool:
        raise NotImplementedError


class Poster(Publisher):
    """By HTTP."""

    async def _way(self, number: int) -> bool:
        content = {"topic": self.topic, "message": str(number)}
        status, _ = await asyncio.to_thread(
            self.production.browser.post, "/api/notification", content, self.production.token
        )
        return status == 202


class Sender(Publisher):
    """By SEND, with a receipt."""

    stomp: Any = None

    async def _way(self, number: int) -> bool:
        if self.stomp is None:
            stomp = self.production.browser.stomp(self.production.token)
            self.stomp = await stomp.__aenter__()
        taken = False
        try:
            headers = {"destination": self.topic, "receipt": "r"}
            await self.stomp.send("SEND", headers, str(number).encode())
            taken = (await self.stomp.frame()).command == "RECEIPT"
        finally:
            if not taken:
                await self.leave()
        return taken

    async def leave(self) -> None:
        if self.stomp is not None:
            await self.stomp.__aexit__()
            self.stomp = None


class Service(Publisher):
    """By a stream, which bridges read; acknowledged is what a replica has."""

    async def _way(self, number: int) -> bool:
        return await asyncio.to_thread(self._add, number)

    def _add(self, number: int) -> bool:
        sentinels = self.production.redis.sentinels
        named = [("127.0.0.1", each.port) for each in sentinels]
        sentinel = redis.sentinel.Sentinel(named, sentinel_kwargs={"password": "sentinels"})
        with sentinel.master_for(PRIMARY, password=PASSWORD, socket_timeout=5) as client:
            client.xadd(STREAM, {"message": str(number)})
            return int(client.wait(1, 3000)) == 1


def publisher(production: Production, topic: str) -> Publisher:
    kind = Service if topic == STREAMED else Sender if topic in SENT else Poster
    return kind(production, topic)


@contextlib.asynccontextmanager
async def at_work(*workers: Any) -> Any:
    """Let listeners live, or publishers publish, meanwhile."""
    tasks = [asyncio.create_task(work) for work in workers]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_nothing_is_lost_while_everything_is_restarted(production: Production) -> None:
    listeners = [Listener(production, number) for number in range(CLIENTS)]
    publishers = [publisher(production, topic) for topic in TOPICS]
    async with at_work(*(each.live() for each in listeners)):
        async with asyncio.timeout(120):
            await asyncio.gather(*(each.there.wait() for each in listeners))
        async with at_work(*(each.publish() for each in publishers)) as publishing:
            await restart_all(production)
            await fail_over(production)
            await stop_postgres(production)
            for each in publishers:
                each.ending.set()
            await asyncio.wait(publishing)
        ends = {each.topic: await each.finish() for each in publishers}
        for each in publishers:
            await each.leave()
        await until_all_are_there(listeners, ends)
        await asyncio.to_thread(see_addresses_in_the_admin, production)
    by_topic = {each.topic: each.acknowledged for each in publishers}
    faults = [
        fault
        for each in listeners
        for fault in each.faults(by_topic[each.topic], told=not production.waits)
    ]
    told = sum(each.heard.count(None) for each in listeners)
    print(
        f"{CLIENTS} clients, {sum(map(len, by_topic.values()))} messages acknowledged,"
        f" {sum(each.number for each in publishers)} published;"
        f" {sum(each.resumed for each in listeners)} resumes,"
        f" {told} times told that some are lost"
    )
    assert not faults, "\n".join(faults[:20])
    assert told
    assert sum(each.resumed for each in listeners) >= CLIENTS


async def restart_all(production: Production) -> None:
    """One after the other; nginx reads its file again."""
    await asyncio.sleep(3)
    for name in SERVICES:
        await asyncio.to_thread(production.restart, name)
        await asyncio.sleep(3)
    production.nginx.popen.send_signal(signal.SIGHUP)
    await asyncio.sleep(3)


async def fail_over(production: Production) -> None:
    """
    Kill the primary when the replica has not had all for some time; it comes back as a replica,
    without which nothing is acknowledged if it is waited for.
    """
    primary, replica = production.redis.primary, production.redis.replica
    replica.client.config_set("masterauth", "another")
    primary.client.execute_command("CLIENT", "KILL", "TYPE", "replica")
    await asyncio.sleep(3)
    await asyncio.to_thread(production.redis.fail_over)
    replica.client.config_set("masterauth", PASSWORD)
    where = ("--replicaof", "127.0.0.1", str(replica.port))
    await asyncio.to_thread(primary.start, *where)
    await asyncio.sleep(10)


async def stop_postgres(production: Production) -> None:
    """For some seconds; each process says so once."""
    await asyncio.to_thread(production.postgres.stop)
    await asyncio.sleep(AWAY_SECONDS)
    await asyncio.to_thread(production.postgres.start)
    await asyncio.sleep(8)
    for name in GATEWAYS:
        lines = production.lines(name, "the database is away")
        assert 1 <= len(lines) <= WORKERS, lines
        assert {line["level"] for line in lines} == {"WARNING"}
        assert len(production.lines(name, "the database is back")) == len(lines)


async def until_all_are_there(listeners: list[Listener], ends: dict[str, int]) -> None:
    """Return when every client has the last message."""
    deadline = time.monotonic() + 60
    while behind := [each for each in listeners if each.last != ends[each.topic]]:
        told = [(each.topic, each.last, ends[each.topic]) for each in behind]
        assert time.monotonic() < deadline, told
        await asyncio.sleep(0.2)


def see_addresses_in_the_admin(production: Production) -> None:
    browser = production.browser
    assert browser.log_in("/admin/login/", "olga", "olga of the tests") == 302
    deadline = time.monotonic() + TIMEOUT
    while True:
        status, page, _ = browser.request("GET", "/admin/realtime/sessionrecord/?q=127.0.1.7")
        if ">127.0.1.7<" in page:
            return
        assert status == 200 and time.monotonic() < deadline, page
        time.sleep(0.5)
