"""Publishing on a channel layer, and hearing it, while Redis comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import redis

from realtime.history.log import Log
from realtime.history.positions import Position
from realtime.layer import fence
from realtime.layer.layer import TopicLayer
from realtime.layer.publishing import Publication
from realtime.messages.message import Message, check
from realtime.routes.topics import History
from tests.kit.valkeys import TIMEOUT

KEPT = History("/topic/**", size=10_000)


class Fence(NamedTuple):
    """The fence of messages that are submitted together: see :mod:`realtime.layer.fence`."""

    route: str
    number: int
    entries: Sequence[str] = ()
    after: str = ""

    def of(self, number: int) -> fence.Fence:
        """Return that of one of the messages: each says which entry was begun before it."""
        if not self.entries:
            return fence.Fence(self.route, self.number, "", self.after)
        after = self.entries[number - 1] if number else self.after
        return fence.Fence(self.route, self.number, self.entries[number], after)


class Submission(NamedTuple):
    """What :func:`submit` takes."""

    group: str
    messages: Sequence[dict[str, Any]]
    history: History | None = None
    once: str | None = None
    fence: Fence | None = None

    def publications(self) -> list[Publication]:
        group, messages, history, once, fence = self
        return [
            Publication(group, message, history, once, fence and fence.of(number))
            for number, message in enumerate(messages)
        ]


def submit(layer: TopicLayer, *what: Any) -> asyncio.Future[list[Any]]:
    """Publish at once; the future gets all answers, or the first error."""
    publications = Submission(*what).publications()
    return asyncio.ensure_future(_taken(layer.publisher.publish(publications)))


async def _taken(answers: asyncio.Future[list[Any]]) -> list[Any]:
    for answer in await answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers.result()


def submit_sync(layer: TopicLayer, submissions: Iterable[Submission]) -> list[Any]:
    """Publish from synchronous code."""
    return layer.publisher.publish_sync(
        [each for one in submissions for each in one.publications()]
    )


def submission(number: int, group: str = "group") -> Submission:
    message = Message("/topic/group", b"%d" % number)
    return Submission(group, [check(message).envelope], KEPT)


async def published(layer: TopicLayer, number: int, group: str = "group") -> Position:
    """Publish as soon as it is taken, and return the position."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            try:
                (answer,) = await submit(layer, *submission(number, group))
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
