"""
Bridges between Redis channels of services and destinations of clients.

Both directions are entries of the routing table::

    routes = [
        from_channel("GREETING_CHANNEL_INBOUND", to="/topic/greetings"),
        to_channel("/app/greet", "GREETING_CHANNEL_OUTBOUND"),
    ]

What comes in is carried by ``manage.py bridge``; what goes out, by the process in which the
client's SEND arrived.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from redis import RedisError

from realtime.broker import Message, MessageTooLarge, apublish
from realtime.destinations import check_topic
from realtime.handlers import ApplicationRoute, load_routes
from realtime.redis import create_pool, pipeline_to
from realtime.sessions import Session
from realtime.subscriber import Subscriber

logger = logging.getLogger(__name__)

#: Seconds until a bridge that found no Redis asks again.
RETRY_SECONDS: Final = 1.0

#: How many publishes may be under way; beyond that the bridges stop reading.
MAX_UNDER_WAY: Final = 1000


@dataclass(frozen=True)
class ChannelBridge:
    """What services publish on the Redis channel goes to the topic."""

    channel: str
    topic: str


def from_channel(channel: str, *, to: str) -> ChannelBridge:
    """
    Carry what is published on a Redis channel to a topic.

    A payload that is a JSON string is unwrapped; any other goes through as it is.
    """
    return ChannelBridge(channel, check_topic(to))


def to_channel(destination: str, channel: str) -> ApplicationRoute:
    """Publish what clients send to an application destination on a Redis channel, as JSON."""

    def forward(message: Message, session: Session) -> asyncio.Future[Any]:
        return pipeline_to(settings.REDIS_URL).submit(
            "PUBLISH", channel, as_json_string(message.body)
        )

    return ApplicationRoute(destination, forward)


def as_json_string(body: bytes) -> str:
    """Return the body as a JSON string; bytes that are not UTF-8 become U+FFFD."""
    return json.dumps(body.decode(errors="replace"), ensure_ascii=False)


def unwrap(payload: bytes) -> str | bytes:
    """Return the string that a payload encodes as JSON, or the payload as it is."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return payload
    if text[:1].isspace() or text.startswith('"'):
        try:
            content = json.loads(text)
            content.encode()
        except (ValueError, AttributeError, RecursionError):
            return text
        if isinstance(content, str):
            return content
    return text


def incoming_bridges() -> list[ChannelBridge]:
    """Return the bridges of the routing table that ``manage.py bridge`` runs."""
    return [route for route in load_routes() if isinstance(route, ChannelBridge)]


async def run_bridges(bridges: list[ChannelBridge]) -> None:
    """
    Carry what comes in until cancelled; what was heard by then is still published.

    Redis may come and go. What is published on a Redis channel while nobody hears it is lost.
    """
    topics = {bridge.channel.encode(): bridge.topic for bridge in bridges}
    under_way: set[asyncio.Task[None]] = set()

    def receive(channel: bytes, payload: bytes) -> Awaitable[object] | None:
        task = asyncio.create_task(_carry(topics[channel], payload))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        if len(under_way) < MAX_UNDER_WAY:
            return None
        return asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)

    subscriber = Subscriber(create_pool(settings.REDIS_URL), receive)
    try:
        for bridge in bridges:
            await _subscribe(subscriber, bridge)
        await asyncio.Event().wait()
    finally:
        await subscriber.aclose()
        if under_way:
            await asyncio.wait(under_way)


async def _subscribe(subscriber: Subscriber, bridge: ChannelBridge) -> None:
    while True:
        try:
            await subscriber.subscribe(bridge.channel)
        except RedisError:
            await asyncio.sleep(RETRY_SECONDS)
        else:
            logger.info("bridge: Redis channel %s to %s", bridge.channel, bridge.topic)
            return


async def _carry(topic: str, payload: bytes) -> None:
    try:
        await apublish(topic, unwrap(payload))
    except (MessageTooLarge, RedisError) as error:
        logger.warning("bridge: a message for %s is lost: %s", topic, error)
    except Exception:
        logger.exception("bridge: a message for %s is lost", topic)
