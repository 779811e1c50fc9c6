"""
Broker: the one way in for messages.

Any Django code may publish::

    from realtime import publish

    publish("/topic/toast", "saved")
    publish("/topic/prices", {"EUR": 1.08})

from asynchronous code with :func:`apublish`, and in a transaction with
:func:`realtime.publish_on_commit`. What comes in great numbers (SENDs, lists, bridges) is
checked one by one with :func:`realtime.messages.check` and goes through :func:`publish_many` or
:func:`apublish_many`.
"""

from __future__ import annotations

import asyncio
import itertools
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from channels.layers import get_channel_layer
from django.conf import settings
from django.db import connections
from redis import RedisError

from .counters import Door, counters, sampler
from .destinations.groups import group_name
from .layer.fence import TOO_EARLY, Fence
from .layer.plain import face_of
from .layer.publishing import Publication
from .messages.message import Checked, Message, check
from .routes.table import topic_options

#: Called with messages, at least one, and with what publishes them; returns what that does.
#: :mod:`realtime.tracing` sets it.
trace: Callable[[Sequence[Checked], Callable[[], Any]], Any] | None = None

#: Whether it was said that a message was published in a transaction.
_warned = False


def publish(
    destination: str,
    content: Any,
    headers: Mapping[str, str] | None = None,
    *,
    idempotency_key: str | None = None,
) -> str:
    """
    Publish from synchronous code; return the message's id.

    When it returns, Redis has taken the message. In a transaction, which may be rolled back after
    that, use :func:`realtime.publish_on_commit`; while ``DEBUG`` is on this warns once. See
    :meth:`.Message.of` for ``content``. Subscribers see the headers; those of
    :data:`.PROTOCOL_HEADERS` are left out.

    Args:
        idempotency_key: If it was used for the destination within the last five minutes, nothing
            is published, and the first message's id is returned.

    Raises:
        DestinationError: If nobody can hear the destination.
        MessageTooLarge: If the body, or the headers, are over the limit.
        ValueError: If the content can't be encoded, or a header is not a text.
        redis.RedisError: If Redis did not take the message.
    """
    if settings.DEBUG and not _warned:
        _warn_in_transaction()
    message = Message.of(destination, content, headers, idempotency_key=idempotency_key)
    return publish_many([message])[0]


def _warn_in_transaction() -> None:
    """Say, once in a process, where something is published that may be rolled back."""
    global _warned
    if any(each.in_atomic_block for each in connections.all(initialized_only=True)):
        _warned = True
        warnings.warn(
            "publish() within transaction.atomic(): subscribers hear of it before the commit, and"
            " even if it is rolled back. Use realtime.publish_on_commit().",
            RuntimeWarning,
            stacklevel=3,
        )


def publish_many(
    messages: Iterable[Message | Checked],
    door: Door = "code",
    fences: Sequence[Fence] | None = None,
) -> list[str]:
    """
    Publish messages from synchronous code, in their order and one round trip; return their ids.

    Args:
        fences: One for each message, where only one process may publish at a time.

    Raises:
        DestinationError, MessageTooLarge, ValueError: Before anything was published.
        redis.RedisError: If Redis did not take all of them; it may have taken some.
    """
    checked = [each if isinstance(each, Checked) else check(each) for each in messages]
    began = sampler.begin(checked[0].message.id) if sampler.armed and checked else None
    publications = list(map(_publication, checked, fences or itertools.repeat(None)))
    publish_sync = face_of(get_channel_layer()).publisher.publish_sync
    if trace is None or not checked:
        answers = publish_sync(publications)
    else:
        answers = trace(checked, partial(publish_sync, publications))
    if fences and TOO_EARLY in answers:
        raise RedisError("an entry before it was not taken")
    if began is not None:
        sampler.published(began)
    counters.add(counters.published, door, len(checked))
    return [id_of(each, answer) for each, answer in zip(checked, answers, strict=True)]


async def apublish(
    destination: str,
    content: Any,
    headers: Mapping[str, str] | None = None,
    *,
    idempotency_key: str | None = None,
) -> str:
    """
    Publish as :func:`publish` does, from asynchronous code. Calls that are made in some order
    publish in that order.
    """
    message = Message.of(destination, content, headers, idempotency_key=idempotency_key)
    checked = check(message)
    (answer,) = await apublish_many([checked])
    if isinstance(answer, BaseException):
        raise answer
    return id_of(checked, answer)


def apublish_many(
    messages: Sequence[Checked],
    fences: Sequence[Fence] | None = None,
    door: Door = "code",
) -> asyncio.Future[list[Any]]:
    """
    Begin to publish messages, at least one, in their order.

    The future gets an answer for each: what :func:`id_of` takes once Redis took it, its error,
    or, with fences, :data:`.TOO_EARLY`. It fails if nothing is known of any of them. Await
    :func:`ready` before, where many may come.
    """
    publisher = face_of(get_channel_layer()).publisher
    with counters.lock:
        counters.published[door] += len(messages)
    if fences is None:
        publications = [_publication(each) for each in messages]
    else:
        publications = list(map(_publication, messages, fences))
    if trace is None:
        future = publisher.publish(publications)
    else:
        future = trace(messages, partial(publisher.publish, publications))
    if sampler.armed:
        began = sampler.begin(messages[0].message.id)
        future.add_done_callback(lambda _: sampler.published(began))
    return future


def is_busy() -> bool:
    """Return whether :func:`ready` would wait."""
    return face_of(get_channel_layer()).publisher.busy


async def ready() -> None:
    """Return when another message may be published: too many would pile up in this process."""
    await face_of(get_channel_layer()).publisher.ready()


def id_of(checked: Checked, answer: Any) -> str:
    """Return the id of a message, given the answer of Redis, which has one for what is kept."""
    return answer.decode() if isinstance(answer, bytes) else checked.message.id


def _publication(checked: Checked, fence: Fence | None = None) -> Publication:
    message = checked.message
    destination = message.destination
    history = topic_options(destination).history
    return Publication(
        group_name(destination), checked.envelope, history, message.idempotency_key, fence
    )
