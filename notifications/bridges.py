"""
Bridges between Redis channels of services and destinations of clients.

Both directions are entries of the routing table::

    routes = [
        from_channel("GREETING_CHANNEL_INBOUND", to="/topic/greetings"),
        to_channel("/app/greet", "GREETING_CHANNEL_OUTBOUND"),
        to_channel("/app/ask/{what}", "QUESTIONS", format="envelope"),
        from_channel("ANSWERS"),
    ]

What comes in is carried by ``manage.py bridge``; what goes out, by the process in which the
client's SEND arrived.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from django.conf import settings
from redis import RedisError

from realtime.broker import Message, start
from realtime.destinations import check_published, check_topic
from realtime.handlers import ApplicationRoute
from realtime.idempotency import IDEMPOTENCY_KEY, key_in, once_of_channel
from realtime.redis import create_pool
from realtime.redis.subscriber import Subscriber
from realtime.routing import load_routes
from realtime.sessions import Session
from realtime.shards import pipeline_to
from realtime.work import Work

logger = logging.getLogger(__name__)

#: Seconds until a bridge that found no Redis asks again.
RETRY_SECONDS: Final = 1.0

#: How many publishes may be under way; beyond that the bridges stop reading.
MAX_UNDER_WAY: Final = 1000
MAX_UNDER_WAY_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True)
class ChannelBridge:
    """What services publish on the Redis channel goes to a destination."""

    channel: str
    read: Callable[[bytes], Message]


def from_channel(channel: str, *, to: str | None = None) -> ChannelBridge:
    """
    Carry what is published on a Redis channel to a topic.

    With ``to``, a payload that is a JSON string is unwrapped; any other goes through as it is.
    Without, each payload is an envelope, which names its destination: see :func:`read_envelope`.
    """
    if to is None:
        return ChannelBridge(channel, partial(read_envelope, channel=channel))
    topic = check_topic(to)
    return ChannelBridge(channel, lambda payload: Message.of(topic, unwrap(payload)))


def to_channel(pattern: str, channel: str, *, format: str = "json-string") -> ApplicationRoute:
    """
    Publish what clients send to an application destination on a Redis channel.

    Args:
        pattern: The application destination; ``{variables}`` stand for segments.
        channel: The Redis channel.
        format: ``json-string`` for the body alone, ``envelope`` for :func:`as_envelope`.
    """
    write = _FORMATS[format]

    def forward(message: Message, session: Session, **variables: str) -> asyncio.Future[Any]:
        payload = write(message, session)
        return pipeline_to(settings.REDIS_URL).submit(("PUBLISH", channel, payload))

    return ApplicationRoute(pattern, send=forward)


def as_envelope(message: Message, session: Session) -> str:
    """
    Return a message as JSON, with where it came from and where to answer::

        {"destination", "body", "headers", "user", "session", "reply-to", "timestamp"}

    ``timestamp`` is in seconds; ``reply-to`` is null, or the destination to answer to. A body that
    is not UTF-8 comes as base64, and ``encoding`` says so.
    """
    content: dict[str, Any] = {
        "destination": message.destination,
        "headers": dict(message.headers),
        "user": session.user_name or None,
        "session": session.id,
        "reply-to": message.headers.get("reply-to"),
        "timestamp": time.time(),
    }
    try:
        content["body"] = message.body.decode()
    except UnicodeDecodeError:
        content |= {"body": b64encode(message.body).decode(), "encoding": "base64"}
    return json.dumps(content, ensure_ascii=False)


def read_envelope(payload: bytes, channel: str = "") -> Message:
    """
    Return the message that a service put into JSON: ``destination``, ``body`` (a string, or
    base64 with ``"encoding": "base64"``, or any JSON value) and, if it likes, ``headers``.

    The header ``idempotency-key`` makes it one that is published once, whatever comes through
    this channel.

    Raises:
        ValueError: If the payload is no such thing.
    """
    try:
        content = json.loads(payload)
        destination, body = content["destination"], content["body"]
        headers = {str(name): str(value) for name, value in content.get("headers", {}).items()}
        if content.get("encoding") == "base64":
            body = b64decode(body, validate=True)
        key = key_in(headers)
        once = None if key is None else once_of_channel(channel, key)
        forwarded = {name: headers[name] for name in headers if name.lower() != IDEMPOTENCY_KEY}
        return Message.of(check_published(destination), body, forwarded, once=once)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no envelope with destination and body: {error!r}") from None


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


_FORMATS: Final[dict[str, Callable[[Message, Session], str]]] = {
    "json-string": lambda message, session: as_json_string(message.body),
    "envelope": as_envelope,
}


def incoming_bridges() -> list[ChannelBridge]:
    """Return the bridges of the routing table that ``manage.py bridge`` runs."""
    return [route for route in load_routes() if isinstance(route, ChannelBridge)]


async def run_bridges(bridges: list[ChannelBridge]) -> None:
    """
    Carry what comes in until cancelled; what was heard by then is still published.

    Redis may come and go. What is published on a Redis channel while nobody hears it is lost.
    """
    by_channel = {bridge.channel.encode(): bridge for bridge in bridges}
    publishing = Work(MAX_UNDER_WAY, MAX_UNDER_WAY_BYTES)

    def receive(channel: bytes, payload: bytes) -> Awaitable[object] | None:
        _carry(by_channel[channel], payload, publishing)
        return publishing.room() if publishing.full else None

    subscriber = Subscriber(create_pool(settings.REDIS_URL), receive)
    try:
        for bridge in bridges:
            await _subscribe(subscriber, bridge)
        await asyncio.Event().wait()
    finally:
        await subscriber.aclose()
        await publishing.ended()


async def _subscribe(subscriber: Subscriber, bridge: ChannelBridge) -> None:
    while True:
        try:
            await subscriber.subscribe(bridge.channel)
        except RedisError:
            await asyncio.sleep(RETRY_SECONDS)
        else:
            logger.info("bridge: hearing the Redis channel %s", bridge.channel)
            return


def _carry(bridge: ChannelBridge, payload: bytes, publishing: Work) -> None:
    """Begin to publish what came."""
    try:
        begun = start(bridge.read(payload))
    except Exception as error:
        _tell_lost(bridge, error)
    else:
        publishing.start(begun, len(payload), partial(_published, bridge))


def _published(bridge: ChannelBridge, future: asyncio.Future[Any]) -> None:
    error = None if future.cancelled() else future.exception()
    if error is not None:
        _tell_lost(bridge, error)


def _tell_lost(bridge: ChannelBridge, error: BaseException) -> None:
    text = "bridge: a message from %s is lost: %s"
    if isinstance(error, (ValueError, RedisError)):
        logger.warning(text, bridge.channel, error)
    else:
        logger.error(text, bridge.channel, error, exc_info=error)
