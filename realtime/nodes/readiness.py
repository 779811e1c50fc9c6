"""
Readiness: do a publish and a subscription work, on each part of Redis?

A part is one Redis, or a node of a cluster. A process publishes something to itself on each of
them, as to a topic with a history, and hears it: so whatever is away, or refused, shows.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import Any, Final
from uuid import uuid4

import redis

from realtime.concurrency import per_loop
from realtime.layer.layer import TopicLayer
from realtime.layer.loop import Shard
from realtime.layer.publishing import Publication
from realtime.redis import REDIS_ERRORS
from realtime.redis.link import Link
from realtime.redis.replicas import NotReplicated
from realtime.routes.topics import History

#: Seconds that a part has.
PART_SECONDS: Final = 1.5

#: Seconds for which an answer holds: however many ask, Redis is not asked more often.
KEPT_SECONDS: Final = 1.0

#: How many names are tried until each node of a cluster has one.
_NAMES: Final = 1000

_HISTORY: Final = History("/topic/readiness", size=1, ttl=1)
_USER: Final = re.compile(r"\bUser \S+ has\b")

#: A part, and why it does not work, if it does not.
_Outcome = tuple[str, BaseException | None]


class NotReady(Exception):
    """What is published is not taken, or not heard; says why."""


class Readiness:
    """
    Ask whether a channel layer works, from one event loop.

    Args:
        layer: Knows the links to each Redis.
    """

    def __init__(self, layer: TopicLayer) -> None:
        self._layer = layer
        self._channel = ""
        self._awaited: dict[str, asyncio.Future[None]] = {}
        self._check: asyncio.Task[list[str]] | None = None
        self._checked_at = 0.0
        self._heard_by: list[Link | None] = []  # another answer when one of them is lost

    async def check(self) -> list[str]:
        """
        Return what does not work of some parts, while others do.

        Raises:
            NotReady: If none does.
        """
        now = asyncio.get_running_loop().time()
        heard_by = [shard.subscriber.link for shard in self._layer.open_links().shards]
        old = now - self._checked_at > KEPT_SECONDS or heard_by != self._heard_by
        if self._check is None or (old and self._check.done()):
            self._checked_at, self._heard_by = now, heard_by
            self._check = asyncio.create_task(self._check_all(), name="realtime-readiness")
        return await asyncio.shield(self._check)

    async def _check_all(self) -> list[str]:
        await self._listen()
        shards = enumerate(self._layer.open_links().shards)
        tried = await asyncio.gather(*(self._try_shard(number, each) for number, each in shards))
        outcomes: list[_Outcome] = list(itertools.chain.from_iterable(tried))
        failed = [(part, error) for part, error in outcomes if error is not None]
        # What too few replicas have was taken, and is heard.
        useless = [error for _, error in failed if not isinstance(error, NotReplicated)]
        if len(useless) == len(outcomes):
            raise NotReady(_reason(useless[0]))
        return [f"{part}: {_reason(error)}" for part, error in failed]

    async def _listen(self) -> None:
        if self._channel not in self._layer.open_links().sinks:
            try:
                async with asyncio.timeout(PART_SECONDS):
                    self._channel = await self._layer.listen(self._hear)
            except REDIS_ERRORS as error:
                raise NotReady(_reason(error)) from error

    async def _try_shard(self, number: int, shard: Shard) -> list[_Outcome]:
        try:
            async with asyncio.timeout(PART_SECONDS):
                places = await shard.pipeline.places()
        except REDIS_ERRORS as error:
            return [(shard.shown, error)]
        groups = self._groups(number, shard, places)
        errors = await asyncio.gather(*map(self._try, groups.values()))
        names = [shard.shown if place is None else "{}:{}".format(*place) for place in groups]
        return list(zip(names, errors, strict=True))

    def _groups(self, number: int, shard: Shard, places: set[Any]) -> dict[Any, str]:
        """Return a group for each place of a Redis."""
        found: dict[Any, str] = {}
        for name in (f"readiness.{each}" for each in range(_NAMES)):
            if self._layer.shard_of(name) == number:
                found.setdefault(shard.pipeline.place_of(self._layer.channel_of(name)), name)
            if len(found) == len(places):
                break
        return found

    async def _try(self, group: str) -> BaseException | None:
        """Publish to a group what is heard here; return why that failed, or None."""
        id = uuid4().hex
        heard = self._awaited[id] = asyncio.get_running_loop().create_future()
        message = {"type": "readiness", "headers": {"message-id": id}}
        taken = False
        try:
            async with asyncio.timeout(PART_SECONDS):
                await self._layer.group_add(group, self._channel)
                publication = Publication(group, message, _HISTORY)
                (answer,) = await self._layer.publisher.publish([publication])
                if isinstance(answer, BaseException):
                    return answer
                taken = True
                await heard
        except REDIS_ERRORS as error:
            return NotReady("what is published is not heard") if taken else error
        finally:
            del self._awaited[id]
        return None

    def _hear(self, messages: list[dict[str, Any]], first: str, pattern: str | None) -> None:
        for message in messages:
            heard = self._awaited.get(message.get("headers", {}).get("message-id", ""))
            if heard is not None and not heard.done():
                heard.set_result(None)


@per_loop
def readiness_of(layer: TopicLayer) -> Readiness:
    """Return what asks a channel layer, from this event loop."""
    return Readiness(layer)


def _reason(error: BaseException) -> str:
    """Return why something failed, fit for anybody's eyes: no address, no user."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, redis.ResponseError | redis.AuthenticationError):
            return f"Redis refuses: {_USER.sub('the user has', str(cause))}"
        cause = cause.__cause__
    if isinstance(error, NotReplicated | NotReady):
        return str(error)
    return f"Redis is away: {type(error).__name__}"
