"""Hearing Redis channels, for as long as a route is held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any, Final

from redis import RedisError

from realtime.concurrency import InFlight
from realtime.redis import create_pool
from realtime.redis.subscriber import Subscriber

from .formats import MESSAGE
from .publisher import Begun, Publisher
from .routes import Arrival

#: Seconds until a Redis that was away is asked again.
RETRY_SECONDS: Final = 1.0

#: What may be under way of one route, begun together or alone; beyond that it is not read.
MAX_UNDER_WAY: Final = 1000
MAX_UNDER_WAY_BYTES: Final = 8 * 1024 * 1024


async def consume_channels(publisher: Publisher) -> None:
    """
    Consume what is published on the Redis channels of a route until cancelled; what was heard by
    then is still published.

    Redis may come and go. What is published while nobody hears it is lost.
    """
    reader = ChannelReader(publisher)
    subscriber = Subscriber(create_pool(publisher.route.url), reader.receive)
    try:
        await _subscribe(subscriber, publisher)
        publisher.ready()
        await asyncio.Event().wait()
    finally:
        await subscriber.aclose()
        await reader.ended()


async def _subscribe(subscriber: Subscriber, publisher: Publisher) -> None:
    route = publisher.route
    while True:
        try:
            return await subscriber.subscribe(route.source, pattern=route.kind == "pattern")
        except RedisError as error:
            publisher.failed(error)
            await asyncio.sleep(RETRY_SECONDS)


class ChannelReader:
    """Consume what is heard, all of one turn of the loop together."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._heard: list[Arrival] = []
        self._under_way = InFlight(MAX_UNDER_WAY, MAX_UNDER_WAY_BYTES)

    def receive(self, name: bytes, channel: bytes, payload: bytes) -> Awaitable[object] | None:
        """Take what came; return what has to be waited for before the next."""
        if not self._heard:
            asyncio.get_running_loop().call_soon(self._begin)
        self._heard.append(Arrival({MESSAGE: payload}, channel))
        return self._under_way.ready() if self._under_way.full else None

    async def ended(self) -> None:
        """Return when all that was heard is published, or has failed."""
        self._begin()
        await self._under_way.ended()

    def _begin(self) -> None:
        heard, self._heard = self._heard, []
        if heard and not self._publisher.lease.owned:
            late = "messages came late, and were dropped: another process may have consumed them"
            self._publisher.failed(late, len(heard))
            return
        for begun in self._publisher.begin(heard):
            self._under_way.start(begun.future, partial(self._ended, begun), size=begun.size)

    def _ended(self, begun: Begun, future: asyncio.Future[Any]) -> None:
        self._publisher.settle(begun)
