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

from .conf import cached_setting
from .destinations import check_published, group_name
from .history import History, history_of
from .scripts import Fence
from .stomp import Limits

#: The type and version of the envelope that travels between nodes.
ENVELOPE_TYPE: Final = "stomp.message"
ENVELOPE_VERSION: Final = 1

#: Headers that are said anew to each client: a message has none of them of its own.
PROTOCOL_HEADERS: Final = frozenset(
    {"destination", "message-id", "subscription", "ack"}
    | {"content-length", "receipt", "transaction"}
    | {"position", "recovered", "dropped"}
)

#: What name and value of a header may have, and all of a message's; bytes, as in a SEND.
MAX_HEADER_BYTES: Final = Limits().max_header_bytes
MAX_HEADERS_BYTES: Final = Limits().max_head_bytes

_ids = itertools.count(1)
_id_prefix = secrets.token_hex(6)


class MessageTooLarge(ValueError):
    """The body exceeds ``STOMP_MAX_BODY_BYTES``, or the headers what they may have."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


def new_id() -> str:
    """Return an id for a message, unlike any other on any node."""
    return f"{_id_prefix}-{next(_ids)}"


@dataclass(slots=True)
class Message:
    """What is published, a value: a body of bytes and headers of text for one destination."""

    destination: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    id: str = field(default_factory=new_id)
    #: If it was used for the destination lately, this message is the same, and not published.
    once: str | None = None

    @classmethod
    def of(
        cls,
        destination: str,
        content: Any,
        headers: Mapping[str, str] | None = None,
        *,
        once: str | None = None,
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
        headers = {"content-type": content_type, **(headers or {})}
        return cls(destination, body, headers, once=once)


def publish(
    destination: str,
    content: Any,
    headers: Mapping[str, str] | None = None,
    *,
    once: str | None = None,
) -> str:
    """
    Publish from synchronous code; return the message's id.

    When it returns, Redis has taken the message. See :meth:`Message.of` for ``content``.
    Subscribers see the headers; those of :data:`PROTOCOL_HEADERS` are left out.

    Args:
        once: A key for this message: if it was used for the destination within the last five
            minutes, nothing is published, and the first message's id is returned.

    Raises:
        DestinationError: If nobody can hear the destination.
        MessageTooLarge: If the body, or the headers, are over the limit.
        ValueError: If the content can't be encoded, or a header is no text.
        redis.RedisError: If Redis did not take the message.
    """
    return publish_many([Message.of(destination, content, headers, once=once)])[0]


def publish_many(messages: Iterable[Message]) -> list[str]:
    """
    Publish messages from synchronous code, in their order and one round trip; return their ids.

    Raises:
        DestinationError, MessageTooLarge, ValueError: Before anything was published.
        redis.RedisError: If Redis did not take all of them; it may have taken some.
    """
    messages = list(messages)
    submissions = [_submission(message) for message in messages]
    layer = get_channel_layer()
    if not hasattr(type(layer), "submit_many_sync"):
        for group, envelope, *_ in submissions:
            async_to_sync(layer.group_send)(group, envelope)
        return [message.id for message in messages]
    answers = layer.submit_many_sync(submissions)
    return [_id(message, answer) for message, answer in zip(messages, answers, strict=True)]


async def apublish(
    destination: str,
    content: Any,
    headers: Mapping[str, str] | None = None,
    *,
    once: str | None = None,
) -> str:
    """Publish as :func:`publish` does, from asynchronous code."""
    return await send(Message.of(destination, content, headers, once=once))


async def send(message: Message) -> str:
    """
    Publish a message; return its id. Calls that are made in some order publish in that order.

    Raises:
        DestinationError, MessageTooLarge, ValueError: As :func:`publish`.
        redis.RedisError: If Redis did not take the message.
    """
    return _id(message, await start(message))


def start(message: Message, fence: Fence | None = None) -> asyncio.Future[Any]:
    """
    Begin to publish a message; the future ends when Redis took it.

    Await :func:`room` before, where many may come. With a fence the future may fail with
    :class:`.Fenced`, or be :data:`.TOO_EARLY`; an entry that was published already counts as taken.

    Raises:
        DestinationError, MessageTooLarge, ValueError: As :func:`publish`.
    """
    submission = _submission(message)
    layer = get_channel_layer()
    if hasattr(type(layer), "submit"):
        return layer.submit(*submission, fence)
    return asyncio.ensure_future(layer.group_send(*submission[:2]))


def busy() -> bool:
    """Return whether :func:`room` would wait."""
    layer = get_channel_layer()
    return hasattr(type(layer), "busy") and layer.busy()


async def room() -> None:
    """Return when another message may be published: too many would pile up in this process."""
    layer = get_channel_layer()
    if hasattr(type(layer), "room"):
        await layer.room()


def _submission(message: Message) -> tuple[str, dict[str, Any], History | None, str | None]:
    """Return what the channel layer takes."""
    content = envelope(message)
    destination = message.destination
    return group_name(destination), content, history_of(destination), message.once


def _id(message: Message, answer: Any) -> str:
    """Return a message's id: Redis gives it to those that are kept."""
    return answer.decode() if isinstance(answer, bytes) else message.id


def check_content(message: Message) -> None:
    """
    Check body and headers.

    Raises:
        MessageTooLarge: If they are over their limits.
        ValueError: If a header is no text, or has no name.
    """
    size, limit = len(message.body), _max_body_bytes()
    if size > limit:
        raise MessageTooLarge(
            f"a body of {size} bytes is over the limit of {limit}", code="body-too-large"
        )
    if not _are_plain(message.headers):
        _check_headers(message.headers)


@cached_setting
def _max_body_bytes() -> int:
    return int(settings.STOMP_MAX_BODY_BYTES)


def _are_plain(headers: Mapping[str, str]) -> bool:
    """Return whether nothing can be wrong with headers, at the first glance."""
    try:
        text = "".join([*headers, *headers.values()])
    except TypeError:
        return False
    return len(text) <= MAX_HEADER_BYTES and text.isascii() and "" not in headers


def _check_headers(headers: Mapping[str, str]) -> None:
    size = sum([_header_size(name, value) for name, value in headers.items()])
    if size > MAX_HEADERS_BYTES:
        raise MessageTooLarge(
            f"headers of {size} bytes are over the limit of {MAX_HEADERS_BYTES}",
            code="header-too-long",
        )


def _header_size(name: Any, value: Any) -> int:
    if not (isinstance(name, str) and isinstance(value, str) and name):
        raise ValueError(f"the header {name!r} is no text with a name: {value!r:.80}")
    size = len(name.encode()) + len(value.encode())
    if size > MAX_HEADER_BYTES:
        raise MessageTooLarge(
            f"a header of {size} bytes is over the limit of {MAX_HEADER_BYTES}",
            code="header-too-long",
        )
    return size


def envelope(message: Message) -> dict[str, Any]:
    """
    Check a message and return it as it travels between nodes.

    Raises:
        DestinationError, MessageTooLarge, ValueError: As :func:`publish`.
    """
    check_published(message.destination)
    check_content(message)
    headers = message.headers
    if not PROTOCOL_HEADERS.isdisjoint(headers):
        headers = {name: headers[name] for name in headers if name not in PROTOCOL_HEADERS}
    return {
        "type": ENVELOPE_TYPE,
        "v": ENVELOPE_VERSION,
        "destination": message.destination,
        "headers": {**headers, "message-id": message.id},
        "body": message.body,
    }


def open_envelope(envelope: Mapping[str, Any]) -> Message | None:
    """Return the message in an envelope, or None if this release can't read it."""
    if (envelope.get("type"), envelope.get("v")) != (ENVELOPE_TYPE, ENVELOPE_VERSION):
        return None
    headers = dict(envelope["headers"])
    message_id = headers.pop("message-id", "")
    position = envelope.get("position")
    return Message(envelope["destination"], envelope["body"], headers, position or message_id)
