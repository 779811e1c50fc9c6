"""
The one way in for messages: :func:`publish` and :func:`apublish`.

Any Django code may call them::

    from realtime.broker import publish

    publish("/topic/toast", "saved")
    publish("/topic/prices", {"EUR": 1.08})
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings

from .destinations import check_published, group_name

#: The type and version of the envelope that travels between nodes.
ENVELOPE_TYPE: Final = "stomp.message"
ENVELOPE_VERSION: Final = 1

_ids = itertools.count(1)
_id_prefix = secrets.token_hex(6)


class MessageTooLarge(ValueError):
    """The body exceeds ``STOMP_MAX_BODY_BYTES``."""


def new_id() -> str:
    """Return an id for a message, unlike any other on any node."""
    return f"{_id_prefix}-{next(_ids)}"


@dataclass(frozen=True, slots=True)
class Message:
    """What is published: a body of bytes and headers of text for one destination."""

    destination: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    id: str = field(default_factory=new_id)

    @classmethod
    def of(
        cls, destination: str, content: Any, headers: Mapping[str, str] | None = None
    ) -> Message:
        """
        Return a message whose body is ``content``: bytes as they are, a string as text,
        anything else as JSON, each with its ``content-type`` unless ``headers`` has one.

        Raises:
            ValueError: If the content can't be encoded.
        """
        if isinstance(content, bytes):
            body, content_type = content, "application/octet-stream"
        elif isinstance(content, str):
            body, content_type = content.encode(), "text/plain;charset=UTF-8"
        else:
            body = json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
            content_type = "application/json"
        return cls(destination, body, {"content-type": content_type, **(headers or {})})


def publish(destination: str, content: Any, headers: Mapping[str, str] | None = None) -> str:
    """
    Publish from synchronous code; return the message's id.

    When it returns, Redis has taken the message. See :meth:`Message.of` for ``content``.

    Raises:
        DestinationError: If nobody can hear the destination.
        MessageTooLarge: If the body is over the limit.
        ValueError: If the content can't be encoded.
        redis.RedisError: If Redis did not take the message.
    """
    message = Message.of(destination, content, headers)
    publish_many([message])
    return message.id


def publish_many(messages: Iterable[Message]) -> None:
    """
    Publish messages from synchronous code, in one round trip to Redis; they keep their order.

    Raises:
        DestinationError, MessageTooLarge: Before anything was published.
        redis.RedisError: If Redis did not take all of them.
    """
    envelopes = [(group_name(message.destination), envelope(message)) for message in messages]
    layer = get_channel_layer()
    if hasattr(type(layer), "group_send_many_sync"):
        layer.group_send_many_sync(envelopes)
        return
    for group, content in envelopes:
        async_to_sync(layer.group_send)(group, content)


async def apublish(destination: str, content: Any, headers: Mapping[str, str] | None = None) -> str:
    """Publish as :func:`publish` does, from asynchronous code."""
    message = Message.of(destination, content, headers)
    await send(message)
    return message.id


async def send(message: Message) -> None:
    """
    Publish a message. Calls that are made in some order publish in that order.

    Raises:
        DestinationError: If nobody can hear the destination.
        MessageTooLarge: If the body is over the limit.
        redis.RedisError: If Redis did not take the message.
    """
    await start(message)


def start(message: Message) -> asyncio.Future[Any]:
    """
    Begin to publish a message; the future ends when Redis took it.

    Await :func:`room` before, where many may come.

    Raises:
        DestinationError, MessageTooLarge: As :func:`send`.
    """
    layer = get_channel_layer()
    group, content = group_name(message.destination), envelope(message)
    submit = getattr(layer, "submit", None)
    return (
        submit(group, content)
        if submit
        else asyncio.ensure_future(layer.group_send(group, content))
    )


async def room() -> None:
    """Return when another message may be published: too many would pile up in this process."""
    layer = get_channel_layer()
    if hasattr(type(layer), "room"):
        await layer.room()


def check_size(message: Message) -> None:
    """
    Raises:
        MessageTooLarge: If the body is over the limit.
    """
    limit = settings.STOMP_MAX_BODY_BYTES
    if len(message.body) > limit:
        raise MessageTooLarge(f"a body of {len(message.body)} bytes is over the limit of {limit}")


def envelope(message: Message) -> dict[str, Any]:
    """
    Check a message and return it as it travels between nodes.

    Raises:
        DestinationError: If nobody can hear the destination.
        MessageTooLarge: If the body is over the limit.
    """
    check_published(message.destination)
    check_size(message)
    return {
        "type": ENVELOPE_TYPE,
        "v": ENVELOPE_VERSION,
        "destination": message.destination,
        "headers": {**message.headers, "message-id": message.id},
        "body": message.body,
    }


def open_envelope(envelope: Mapping[str, Any]) -> Message | None:
    """Return the message in an envelope, or None if this release can't read it."""
    if (envelope.get("type"), envelope.get("v")) != (ENVELOPE_TYPE, ENVELOPE_VERSION):
        return None
    headers = dict(envelope["headers"])
    return Message(
        envelope["destination"], envelope["body"], headers, headers.pop("message-id", "")
    )
