"""
Pages: the history of a topic, read without subscribing::

    from realtime.layer.pages import read_page

    page = read_page("/topic/orders")  # the newest
    page = read_page("/topic/orders", after=page.position)  # what came since
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from channels.layers import get_channel_layer

from realtime.destinations.groups import group_name
from realtime.destinations.names import DestinationError, check_topic
from realtime.history.log import MAX_REPLAY, Log, Lost
from realtime.history.positions import Position, Reason
from realtime.messages.message import Message
from realtime.routes.table import topic_options

from .plain import face_of


@dataclass(frozen=True, slots=True)
class Page:
    """
    Some messages of a topic.

    Args:
        position: Where the next page begins: give it as ``after``.
        messages: The oldest first; the id of each is its position.
        more: Whether there are newer ones.
        lost: Why what came after ``after`` is not whole; then there are no messages.
    """

    position: Position
    messages: Sequence[Message] = ()
    more: bool = False
    lost: Reason | None = None


def read_page(topic: str, *, after: Position | None = None, limit: int = 100) -> Page:
    """
    Return the messages of a topic that come after a position, or the newest ones, up to
    ``limit`` (1 to 300) of them; from synchronous code.

    Raises:
        DestinationError: If that is no topic, or has no history.
        redis.RedisError: If Redis is away.
    """
    history = topic_options(check_topic(topic)).history
    reader = face_of(get_channel_layer()).reader
    if history is None or reader is None:
        raise DestinationError(f"{topic!r} has no history", code="no-history")
    limit = max(1, min(limit, MAX_REPLAY))
    count = history.size if after is not None else limit
    log = reader.read_sync(group_name(topic), history, count)
    if after is None:
        return Page(log.position, log.newest(limit))
    return _page_after(log, after, limit)


def _page_after(log: Log, after: Position, limit: int) -> Page:
    try:
        messages = log.since(after, most=log.position.offset)  # however many, if they are there
    except Lost as lost:
        return Page(log.position, lost=lost.reason)
    if len(messages) <= limit:
        return Page(log.position, messages)
    rest = len(messages) - limit
    return Page(log.position.before(rest), messages[:limit], more=True)
