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
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

from .destinations.groups import group_name
from .layer.fence import Fence
from .layer.publishing import Submission
from .messages.message import Checked, Message, check, in_batches
from .routes.topics import history_of


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
    Subscribers see the headers; those of :data:`.messages.PROTOCOL_HEADERS` are left out.

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
    return publish_checked(map(check, messages))


def publish_checked(messages: Iterable[Checked]) -> list[str]:
    """
    Publish messages as :func:`publish_many` does.

    Raises:
        redis.RedisError: If Redis did not take all of them; it may have taken some.
    """
    batches = list(in_batches(messages))
    submissions = [_submission(batch) for batch in batches]
    layer = get_channel_layer()
    if hasattr(type(layer), "submit_many_sync"):
        answers = layer.submit_many_sync(submissions)
    else:
        answers = [None] * len(batches)
        for group, envelopes, *_ in submissions:
            for envelope in envelopes:
                async_to_sync(layer.group_send)(group, envelope)
    ids = [_ids_of(batch, answer) for batch, answer in zip(batches, answers, strict=True)]
    return list(itertools.chain.from_iterable(ids))


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
    batch = [check(message)]
    return _ids_of(batch, await start(batch))[0]


def start(batch: Sequence[Checked], fence: Fence | None = None) -> asyncio.Future[Any]:
    """
    Begin to publish one of :func:`in_batches`; the future ends when Redis took it.

    Await :func:`room` before, where many may come. With a fence the future may fail with
    :class:`.Fenced`, or be a list in which some are :data:`.TOO_EARLY`; an entry that was published
    already counts as taken.
    """
    submission = _submission(batch, fence)
    layer = get_channel_layer()
    if hasattr(type(layer), "submit"):
        return layer.submit(*submission)
    group, envelopes, *_ = submission
    return asyncio.gather(*(layer.group_send(group, envelope) for envelope in envelopes))


def start_each(messages: Sequence[Checked]) -> asyncio.Future[list[Any]]:
    """
    Begin to publish messages, at least one, in their order; the future gets a list with the error
    of each that Redis did not take, or it has that of all.

    Await :func:`room` before, where many may come.
    """
    submissions = [_submission((each,)) for each in messages]
    layer = get_channel_layer()
    if hasattr(type(layer), "submit_many"):
        return layer.submit_many(submissions)
    sent = [layer.group_send(group, envelope) for group, (envelope,), *_ in submissions]
    return asyncio.gather(*sent, return_exceptions=True)


def busy() -> bool:
    """Return whether :func:`room` would wait."""
    layer = get_channel_layer()
    return hasattr(type(layer), "busy") and layer.busy()


async def room() -> None:
    """Return when another message may be published: too many would pile up in this process."""
    layer = get_channel_layer()
    if hasattr(type(layer), "room"):
        await layer.room()


def _submission(batch: Sequence[Checked], fence: Fence | None = None) -> Submission:
    message = batch[0].message
    destination = message.destination
    envelopes = [each.envelope for each in batch]
    history = history_of(destination)
    return Submission(group_name(destination), envelopes, history, message.once, fence)


def _ids_of(batch: Sequence[Checked], answer: Any) -> list[str]:
    """Return the ids of messages: Redis gives them to those that are kept."""
    if not isinstance(answer, list):
        return [each.message.id for each in batch]
    return [
        given.decode() if isinstance(given, bytes) else each.message.id
        for each, given in zip(batch, answer, strict=True)
    ]
