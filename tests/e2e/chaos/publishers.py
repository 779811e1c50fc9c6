"""Who publishes numbered messages, and remembers which were acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any, Final

from tests.e2e.chaos.clients import CUT, Refused
from tests.e2e.chaos.model import Topic
from tests.kit.clients import StompClient
from tests.kit.processes import Gateway

#: Seconds after an error until what was under way has reached Redis, or never will.
ERROR_SECONDS: Final = 1.0


class Publisher:
    """
    Publish bursts of numbered messages to one topic, by HTTP or STOMP, on any of the gateways.

    Args:
        topic: Where to; what was acknowledged, or may be, is noted there.
        gateways: Where to publish.
        rate: Messages a second, about.
    """

    def __init__(self, topic: Topic, gateways: Sequence[Gateway], rate: float) -> None:
        self.topic = topic
        self._gateways = gateways
        self._rate = rate
        self._next = 1
        self.ending = asyncio.Event()
        self.errors = 0

    async def publish(self) -> None:
        """Publish until it is to end."""
        while not self.ending.is_set():
            burst = random.randint(1, 5)
            await self.publish_burst(burst)
            with contextlib.suppress(TimeoutError):
                pause = burst / self._rate * random.uniform(0.5, 1.5)
                await asyncio.wait_for(self.ending.wait(), pause)

    async def publish_burst(self, count: int) -> bool:
        """Publish so many messages; return whether all were acknowledged."""
        numbers = list(range(self._next, self._next + count))
        self._next += count
        way = random.choice([self._post, self._send])
        try:
            await way(random.choice(self._gateways), numbers)
        except (*CUT, Refused, HTTPException):
            self.errors += 1
            await asyncio.sleep(ERROR_SECONDS)
        self.topic.unknown.update(set(numbers) - self.topic.acknowledged)
        return self.topic.acknowledged.issuperset(numbers)

    async def _post(self, gateway: Gateway, numbers: list[int]) -> None:
        content = [{"topic": self.topic.name, "message": str(number)} for number in numbers]
        answers = await asyncio.to_thread(_post, gateway, content)
        for number, answer in zip(numbers, answers, strict=True):
            self.topic.holds(answer["id"], number, "the publisher")
            self.topic.acknowledged.add(number)

    async def _send(self, gateway: Gateway, numbers: list[int]) -> None:
        async with StompClient(gateway.stomp) as stomp:
            for number in numbers:
                headers = {"destination": self.topic.name, "receipt": str(number)}
                await stomp.send("SEND", headers, b"%d" % number)
            for _ in numbers:
                frame = await stomp.frame()
                if frame.command == "ERROR":
                    raise Refused(frame.headers["code"])
                self.topic.acknowledged.add(int(frame.headers["receipt-id"]))


def _post(gateway: Gateway, content: Any) -> Any:
    """Post a list of notifications; return the answers, or raise OSError."""
    headers = {"Content-Type": "application/json"}
    data = json.dumps(content).encode()
    request = urllib.request.Request(f"{gateway.url}/api/notification", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            assert error.code == 503, error.read()
            raise
