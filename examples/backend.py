"""
A back end of the gateway: copy it, and let ``answer`` do what your service does.

What clients send to /app/greet comes on a Redis channel: every back end that runs hears it. What
they send to /app/test waits in a Redis stream until one back end of the group has answered it::

    python examples/backend.py
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

from redis import RedisError, ResponseError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

REQUESTS, ANSWERS, GROUP = "TEST_EVENT_TO_BACKEND", "TEST_EVENT_TO_WEBSOCKET_SERVER", "backends"
#: Who has had a request for so long is dead, and another takes it over; no answer takes longer.
TAKE_OVER_MILLISECONDS = 10_000

logger = logging.getLogger("backend")


def answer(message: str, name: str) -> str:
    return f"{message} (answered by {name})"


async def answer_greetings(redis: Redis, name: str) -> None:
    async with redis.pubsub(ignore_subscribe_messages=True) as greetings:
        await greetings.subscribe("GREETING_CHANNEL_OUTBOUND")
        async for greeting in greetings.listen():
            text = answer(json.loads(greeting["data"]), name)
            await redis.publish("GREETING_CHANNEL_INBOUND", json.dumps(text))
            logger.info("/topic/greetings: %s", text)


async def answer_requests(redis: Redis, name: str) -> None:
    with suppress(ResponseError):  # there is such a group already
        await redis.xgroup_create(REQUESTS, GROUP, id="0", mkstream=True)
    position = "0-0"
    while True:
        # One at a time: a request that can't be answered holds up no other.
        position, entries, *_ = await redis.xautoclaim(
            REQUESTS, GROUP, name, TAKE_OVER_MILLISECONDS, position, count=1
        )
        if not entries:
            streams = await redis.xreadgroup(GROUP, name, {REQUESTS: ">"}, count=1, block=1000)
            entries = streams[0][1] if streams else []
        for entry, request in entries:
            await answer_request(redis, name, entry, request)


async def answer_request(redis: Redis, name: str, entry: str, request: dict[str, str]) -> None:
    topic = request.get("topic", "/topic/test")
    text = answer(request["message"], name)
    # Both or neither: wherever a back end dies, there is one answer in the end.
    async with redis.pipeline(transaction=True) as transaction:
        transaction.xadd(ANSWERS, {"topic": topic, "message": text}, maxlen=10_000)
        transaction.xack(REQUESTS, GROUP, entry)
        await transaction.execute()
    logger.info("%s: %s", topic, text)


async def keep(work: Callable[[Redis, str], Awaitable[None]], redis: Redis, name: str) -> None:
    """Begin anew after Redis was away, or something could not be answered."""
    while True:
        try:
            await work(redis, name)
        except Exception as error:
            fault = not isinstance(error, RedisError)
            logger.warning("%s begins anew: %s", work.__name__, error, exc_info=fault)
            await asyncio.sleep(1)


async def main(name: str) -> None:
    url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
    # A command whose answer was cut off may have been done: the group knows, so don't repeat it.
    never = Retry(NoBackoff(), 0)
    async with Redis.from_url(
        url, decode_responses=True, encoding_errors="replace", retry=never
    ) as redis:
        await asyncio.gather(
            keep(answer_greetings, redis, name), keep(answer_requests, redis, name)
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default=f"{socket.gethostname()}-{os.getpid()}")
    parser.add_argument("--verbose", action="store_true", help="tell each answer, as in a terminal")
    arguments = parser.parse_args()
    talks = arguments.verbose or sys.stdout.isatty()
    logging.basicConfig(format="%(message)s", level=logging.INFO if talks else logging.WARNING)
    with suppress(KeyboardInterrupt):
        asyncio.run(main(arguments.name))
