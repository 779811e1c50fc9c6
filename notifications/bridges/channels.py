"""Hearing Redis channels, for as long as a route is held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any, Final

from redis import RedisError

from realtime.redis import create_pool
from realtime.redis.subscriber import Subscriber
from realtime.work import Work

from .carrier import Begun, Carrier
from .formats import MESSAGE
from .routes import Arrival

#: Seconds until a Redis that was away is asked again.
RETRY_SECONDS: Final = 1.0

#: How many messages of one route may be under way; beyond that it is not read.
MAX_UNDER_WAY: Final = 1000
MAX_UNDER_WAY_BYTES: Final = 8 * 1024 * 1024


async def carry_channels(carrier: Carrier) -> None:
    """
    Carry what is published on the Redis channels of a route until cancelled; what was heard by
    then is still published.

    Redis may come and go. What is published while nobody hears it is lost.
    """
    route = carrier.route
    under_way = Work(MAX_UNDER_WAY, MAX_UNDER_WAY_BYTES)
    subscriber = Subscriber(create_pool(route.url), partial(_receive, carrier, under_way))
    try:
        await _subscribe(subscriber, carrier)
        carrier.ready()
        await asyncio.Event().wait()
    finally:
        await subscriber.aclose()
        await under_way.ended()


async def _subscribe(subscriber: Subscriber, carrier: Carrier) -> None:
    route = carrier.route
    while True:
        try:
            return await subscriber.subscribe(route.source, pattern=route.kind == "pattern")
        except RedisError as error:
            carrier.failed(error)
            await asyncio.sleep(RETRY_SECONDS)


def _receive(
    carrier: Carrier, under_way: Work, name: bytes, channel: bytes, payload: bytes
) -> Awaitable[object] | None:
    """Begin with what came; return what has to be waited for before the next."""
    if not carrier.lease.held:
        carrier.failed("a message came late, and was dropped: another process may have carried it")
        return None
    begun = carrier.begin(Arrival({MESSAGE: payload}, channel))
    under_way.start(begun[0], len(payload), partial(_ended, carrier, begun))
    return under_way.room() if under_way.full else None


def _ended(carrier: Carrier, begun: Begun, future: asyncio.Future[Any]) -> None:
    carrier.settle(begun)
