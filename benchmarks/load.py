"""
The load generator: a process of its own, which runs one workload once::

    python -m benchmarks.load '{"workload": "fan_out", "target": {...}, "options": {...}}'

It prints the result as JSON. Each workload is a function that takes the target and its options,
and returns what happened while the meter ran, with a ``count`` of what is measured. It makes
sure that nothing was lost: otherwise the result is ``{"failed": why}``.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

import uvloop

from .clients import PATIENCE, Client, Failed, connect
from .meter import Meter

#: Seconds between the start of the load and of the measurement.
WARM_UP = 0.5

Result = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """A server under load, as ``servers.py`` describes it."""

    stomp: list[str]
    http: str
    redis: str
    headers: dict[str, str]
    http_headers: dict[str, str]
    protocol: str
    longest_turn: str
    pids: dict[str, list[int]]
    cores: dict[str, int]

    async def connect(self, index: int = 0, *, small: bool = False) -> Client:
        url = self.stomp[index % len(self.stomp)]
        return await connect(url, self.headers, protocol=self.protocol, small=small)

    async def connect_many(self, count: int, **options: Any) -> list[Client]:
        """Connect so many clients, a few at a time."""
        clients: list[Client] = []
        while len(clients) < count:
            some = range(min(20, count - len(clients)))
            clients += await asyncio.gather(*(self.connect(**options) for _ in some))
        return clients

    def meter(self) -> Meter:
        return Meter(self.pids, self.cores)


Workload = Callable[..., Coroutine[Any, Any, Result]]
WORKLOADS: dict[str, Workload] = {}


def workload(function: Workload) -> Workload:
    WORKLOADS[function.__name__] = function
    return function


async def measure(
    target: Target, seconds: float, count: Callable[[], int], *, warm: int = 1
) -> Result:
    """
    Return how much was counted in an interval, and what it took.

    The interval starts once ``warm`` were counted: first requests import, connect, fill caches.
    """
    await asyncio.sleep(WARM_UP)
    await until(lambda: count() >= warm, lambda: f"only {count()} of the first {warm} came")
    before, meter = count(), target.meter()
    await asyncio.sleep(seconds)
    return {"count": count() - before} | meter.interval()


async def until(condition: Callable[[], bool], complaint: Callable[[], str]) -> None:
    """Wait until something has arrived; say what is missing once that changes no more."""
    missing, quiet_since = "", time.monotonic()
    while not condition():
        if (now := complaint()) != missing:
            missing, quiet_since = now, time.monotonic()
        if time.monotonic() - quiet_since > PATIENCE:
            raise Failed(missing)
        await asyncio.sleep(0.02)


async def all_heard(clients: Iterable[Client], due: Callable[[int], int]) -> None:
    """Make sure that each client got as many messages as were due to it, and no more."""
    counted = list(enumerate(clients))
    wanted = sum(due(index) for index, _ in counted)
    await until(
        lambda: all(client.messages >= due(index) for index, client in counted),
        lambda: (
            f"lost: {wanted - sum(c.messages for _, c in counted)} of {wanted} messages"
            + next((f"; {client.error!r}" for _, client in counted if client.error), "")
        ),
    )
    extra = sum(client.messages for _, client in counted) - wanted
    if extra:
        raise Failed(f"{extra} messages more than the {wanted} that were sent")


async def in_batches(work: Iterable[Coroutine[Any, Any, Any]], size: int = 20) -> None:
    batch: list[Coroutine[Any, Any, Any]] = []
    for each in work:
        batch.append(each)
        if len(batch) == size:
            await asyncio.gather(*batch)
            batch = []
    await asyncio.gather(*batch)


async def run(name: str, target: Target, options: dict[str, Any]) -> Result:
    try:
        return await WORKLOADS[name](target, **options)
    except (Failed, OSError, TimeoutError) as error:
        return {"failed": f"{error}" or type(error).__name__}


def main() -> None:
    order = json.loads(sys.argv[1])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.disable()  # a pause of ours would be taken for one of the server's
    target = Target(**order["target"])
    print(json.dumps(uvloop.run(run(order["workload"], target, order["options"]))))


if __name__ == "__main__":
    # The workloads register with the module that they import, not with "__main__".
    from . import http_load, load, stomp_load  # noqa: F401

    load.main()
