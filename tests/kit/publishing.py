"""Publishing on a channel layer, and hearing it, while Redis comes and goes."""

from __future__ import annotations

import asyncio
from typing import Any

import redis

from realtime.history.log import Log
from realtime.history.positions import Position
from realtime.layer.layer import TopicLayer
from realtime.layer.publishing import Submission
from realtime.messages.message import Message, check
from realtime.routes.topics import History
from tests.kit.valkeys import TIMEOUT

KEPT = History("/topic/**", size=10_000)


def submission(number: int, group: str = "group") -> Submission:
    message = Message("/topic/group", b"%d" % number)
    return Submission(group, [check(message).envelope], KEPT)


async def published(layer: TopicLayer, number: int, group: str = "group") -> Position:
    """Publish as soon as it is taken, and return the position."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            try:
                (answer,) = await layer.submit(*submission(number, group))
            except redis.RedisError:
                await asyncio.sleep(0.1)
            else:
                position = Position.parse(answer.decode())
                assert position is not None
                return position


class Listener:
    """What a layer hears in a group."""

    def __init__(self) -> None:
        self.got: list[int] = []
        self._renewed = asyncio.Event()

    async def listen(self, layer: TopicLayer, *groups: str) -> None:
        channel = await layer.listen(self._receive, self._renewed.set)
        for group in groups or ("group",):
            await layer.group_add(group, channel)

    async def hears(self, *numbers: int) -> None:
        """Return when these are what came so far."""
        async with asyncio.timeout(TIMEOUT):
            while len(self.got) < len(numbers):
                await asyncio.sleep(0.05)
        assert self.got == list(numbers)

    async def connects_again(self) -> None:
        async with asyncio.timeout(TIMEOUT):
            await self._renewed.wait()

    def _receive(self, messages: list[dict[str, Any]], first: str, pattern: str | None) -> None:
        self.got += [int(message["body"]) for message in messages]


def kept_since(log: Log, position: Position) -> list[int]:
    return [int(message.body) for message in log.since(position)]
