"""Bridges within a test: routes that no other test has, and what became of what they carried."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import redis
from django.conf import settings

from notifications.bridges.routes import IncomingRoute
from notifications.bridges.runner import run_bridges
from notifications.bridges.store import key_of
from realtime.layer.pages import read_page

#: Generous: it only ends a test that would hang.
TIMEOUT = 30


def new_name(kind: str) -> str:
    return f"{kind}-{uuid4().hex}"


@contextlib.asynccontextmanager
async def consuming(*routes: IncomingRoute) -> AsyncIterator[asyncio.Task[None]]:
    """Carry routes, once each is heard or has its group, until the block ends."""
    task = asyncio.create_task(run_bridges(routes))
    try:
        for route in routes:
            await eventually(lambda route=route: is_consumed(route))
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


def is_consumed(route: IncomingRoute) -> bool:
    with redis.Redis.from_url(route.url) as client:
        if route.kind == "stream":
            return bool(client.exists(route.source)) and bool(client.xinfo_groups(route.source))
        if route.kind == "pattern":
            return client.pubsub_numpat() > 0
        return dict(client.pubsub_numsub(route.source))[route.source.encode()] > 0


async def eventually(condition: Callable[[], Any]) -> Any:
    """Return what a condition gives as soon as that is something."""
    async with asyncio.timeout(TIMEOUT):
        while not (found := await asyncio.to_thread(condition)):
            await asyncio.sleep(0.05)
    return found


async def published(topic: str, count: int) -> list[bytes]:
    """Return the bodies that were published to a topic, once there are so many."""

    def bodies() -> list[bytes]:
        found = [message.body for message in read_page(topic).messages]
        return found if len(found) >= count else []

    found: list[bytes] = await eventually(bodies)
    return found


def dead_letters(route: IncomingRoute) -> list[dict[bytes, bytes]]:
    """Return the dead letters of a route, the oldest first."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        return [fields for _, fields in client.xrange(key_of(route.id, "dead-letters"))]


def status(route: IncomingRoute) -> dict[str, str]:
    with redis.Redis.from_url(settings.REDIS_URL, decode_responses=True) as client:
        return client.hgetall(key_of(route.id, "status"))
