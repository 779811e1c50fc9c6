"""The workloads that services bring: HTTP, and Redis channels."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any

import redis.asyncio

from .clients import PATIENCE, HttpClient, RedisClient, centrifugo_channel, encode_command
from .load import Failed, Result, Target, all_heard, measure, workload

TOAST = "/topic/toast"
MESSAGE = "x" * 100
WARM_REQUESTS = 40
#: Until so many are heard that were answered, no more are posted: some servers answer first.
MOST_UNHEARD = 1000
INBOUND = "GREETING_CHANNEL_INBOUND"
STREAM = "TEST_EVENT_TO_WEBSOCKET_SERVER"


@workload
async def post(
    target: Target,
    *,
    seconds: float,
    path: str,
    batch: int,
    connections: int,
    parallel: bool = False,
) -> Result:
    """POST notifications; counts those that were answered, and that a subscriber got them."""
    subscriber = await target.connect()
    await subscriber.subscribe(TOAST)
    is_heard = path != "/bare"
    posted, waiting = 0, deque[HttpClient]()

    def answered(client: HttpClient) -> None:
        nonlocal posted
        posted += max(1, batch)
        waiting.append(client)
        post_more()

    def post_more(_: bytes = b"") -> None:
        while waiting and not (is_heard and posted - subscriber.messages > MOST_UNHEARD):
            waiting.popleft().post()

    def count() -> int:
        for client in clients:
            if client.ended.done():
                client.ended.result()  # raises what went wrong
        return posted

    subscriber.heard = post_more
    request = centrifugo_request if target.protocol == "centrifugo" else notification
    path, content = request(path, batch, parallel)
    url, headers = target.http + path, target.http_headers
    clients = [HttpClient(url, content, headers, answered) for _ in range(connections)]
    await asyncio.gather(*(client.start() for client in clients))
    result = await measure(target, seconds, count, warm=WARM_REQUESTS * max(1, batch))
    for client in clients:
        client.stop()
    await asyncio.wait_for(asyncio.gather(*(client.ended for client in clients)), PATIENCE)
    if is_heard:
        await all_heard([subscriber], lambda _: posted)
    return result


def notification(path: str, batch: int, parallel: bool = False) -> tuple[str, Any]:
    """Return the path and the content of a request; 0 is a notification that is in no list."""
    content = {"topic": TOAST, "message": MESSAGE}
    return path, [content] * batch if batch else content


def centrifugo_request(path: str, batch: int, parallel: bool = False) -> tuple[str, Any]:
    """Return the same for Centrifugo, which has paths of its own; ``parallel`` is in any order."""
    content = {"channel": centrifugo_channel(TOAST), "data": MESSAGE}
    if batch:
        return "/api/batch", {"commands": [{"publish": content}] * batch, "parallel": parallel}
    return "/api/publish", content


@workload
async def channel_to_topic(target: Target, *, seconds: float, window: int) -> Result:
    """PUBLISH on the Redis channel, pipelined; counts what a subscriber of the topic gets."""
    await _bridge_listens(target)
    command = encode_command(b"PUBLISH", INBOUND.encode(), json.dumps(MESSAGE).encode())
    return await _redis_to_topic(target, "/topic/greetings", command, seconds, window)


@workload
async def stream_to_topic(target: Target, *, seconds: float, window: int) -> Result:
    """XADD to the Redis stream, pipelined; counts what a subscriber of the topic gets."""
    entry = (b"topic", b"/topic/streamed", b"message", MESSAGE.encode())
    command = encode_command(b"XADD", STREAM.encode(), b"MAXLEN", b"~", b"100000", b"*", *entry)
    return await _redis_to_topic(target, "/topic/streamed", command, seconds, window)


async def _redis_to_topic(
    target: Target, topic: str, command: bytes, seconds: float, window: int
) -> Result:
    subscriber = await target.connect()
    await subscriber.subscribe(topic)
    service = RedisClient(b"\r\n")
    await service.start(target.redis)
    sent, stopped = 0, False

    def pump(_: bytes = b"") -> None:
        nonlocal sent
        room = subscriber.messages + window - sent
        if room >= window // 4 and not stopped:
            service.transport.write(command * room)
            sent += room

    subscriber.heard = pump
    pump()
    result = await measure(target, seconds, lambda: subscriber.messages)
    stopped = True
    await all_heard([subscriber], lambda _: sent)
    return result


async def _bridge_listens(target: Target) -> None:
    async with redis.asyncio.from_url(target.redis) as client:
        for _ in range(300):
            if dict(await client.pubsub_numsub(INBOUND)).get(INBOUND.encode()):
                return
            await asyncio.sleep(0.1)
    raise Failed("the bridge does not listen: see its log")
