"""The hub: which local subscription hears which destination, through one channel."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Any, Final

from channels.layers import get_channel_layer

from .delivery import Subscription
from .destinations import (
    DestinationError,
    compile_pattern,
    group_name,
    group_pattern,
    is_pattern,
)
from .flusher import this_flusher
from .history import Log, Position, history_of
from .messages import Message, open_envelope
from .topics import Topic

logger = logging.getLogger(__name__)

#: Seconds between two questions where the histories stand.
CHECK_SECONDS: Final = 5.0

#: Seconds after which what was published then has arrived here, or is lost.
ARRIVAL_SECONDS: Final = 1.0

#: After so many deliveries the hub lets the outboxes write, and others have their turn.
YIELD_DELIVERIES: Final = 1000


class Hub:
    """
    Join the channel-layer group of a destination for its first local subscription, leave it
    with the last, and hand each message that arrives to every one in between.
    """

    def __init__(self) -> None:
        self._layer: Any = get_channel_layer()
        self._topics: dict[str, Topic] = {}
        self._patterns: dict[str, dict[str, None]] = {}  # the patterns heard, by their globs
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._channel: asyncio.Task[str] | None = None
        self._receiver: asyncio.Task[None] | None = None
        self._checker: asyncio.Task[None] | None = None
        self._check_now = asyncio.Event()
        self._delivered = 0  # since the outboxes last had their turn

    def subscribe(self, subscription: Subscription) -> Awaitable[None]:
        """
        Add a subscription at once; messages that are published after what this returns has
        been awaited are delivered to it.

        Awaiting raises :class:`redis.RedisError` if Redis is away; the subscription is then
        removed again.

        Raises:
            DestinationError: If it is to a pattern and the channel layer has none.
        """
        destination = subscription.destination
        if is_pattern(destination) and not hasattr(type(self._layer), "pattern_add"):
            raise DestinationError("this channel layer hears no patterns", code="bad-pattern")
        topic = self._topics.get(destination)
        if topic is None:
            topic = self._topics[destination] = self._new_topic(destination)
        topic.add(subscription)
        return self._certain(topic, subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription: from now on nothing is delivered to it."""
        topic = self._topics.get(subscription.destination)
        if topic is not None:
            self._remove(topic, subscription)

    def deliver(
        self,
        messages: Sequence[Message],
        first: Position | None = None,
        pattern: str | None = None,
    ) -> int:
        """
        Hand messages to the local subscriptions of their destination or, if they came through
        the glob of some patterns, of those that stand for it; return how often.

        Args:
            messages: All to one destination, each the next in its history.
            first: Where the first of them stands there.
        """
        destination = messages[0].destination
        if pattern is None:
            topic = self._topics.get(destination)
            return topic.receive(messages, first) if topic is not None else 0
        count = 0
        for name in tuple(self._patterns.get(pattern, ())):
            if name in self._topics and compile_pattern(name).fullmatch(destination):
                count += self._topics[name].receive(messages, None)
        return count

    async def close(self) -> None:
        """Stop hearing anything."""
        tasks = [task for task in (self._receiver, self._checker) if task is not None]
        for task in tasks:
            task.cancel()
        for topic in self._topics.values():
            topic.close()
        if tasks:
            await asyncio.wait(tasks)

    def _new_topic(self, destination: str) -> Topic:
        joined = asyncio.create_task(self._join(destination, self._leaving.get(destination)))
        history = history_of(destination) if hasattr(type(self._layer), "read_history") else None
        if is_pattern(destination):
            history = None
        return Topic(history, partial(self._read, destination), joined)

    def _remove(self, topic: Topic, subscription: Subscription) -> None:
        topic.discard(subscription)
        destination = subscription.destination
        if not topic.members and self._topics.get(destination) is topic:
            del self._topics[destination]
            topic.close()
            self._leaving[destination] = asyncio.create_task(self._leave(destination, topic))

    async def _certain(self, topic: Topic, subscription: Subscription) -> None:
        """Return when Redis has confirmed that it is heard, now and not only once."""
        try:
            await asyncio.shield(topic.joined)
            if subscription in topic.members and self._channel is not None:
                await self._add(subscription.destination, self._channel.result())
            if subscription in topic.members:
                await topic.begin(subscription)
        except BaseException:
            self._remove(topic, subscription)
            raise

    async def _join(self, destination: str, leaving: asyncio.Task[None] | None) -> None:
        if leaving is not None:
            await asyncio.wait([leaving])
        if self._channel is None:
            self._channel = asyncio.create_task(self._open_channel())
        await self._add(destination, await asyncio.shield(self._channel))

    async def _leave(self, destination: str, topic: Topic) -> None:
        try:
            await asyncio.wait([topic.joined])
            topic.joined.exception()  # those who waited have seen it
            if self._channel is not None and self._channel.done():
                await self._discard(destination, self._channel.result())
        except Exception as error:
            logger.warning("could not leave the group of %s: %s", destination, error)
        finally:
            if self._leaving.get(destination) is asyncio.current_task():
                del self._leaving[destination]

    async def _read(self, destination: str, count: int) -> Log:
        """Read the history of a destination."""
        (log,) = await self._layer.read_history([_history_key(destination)], count)
        return log

    async def _check_all(self) -> None:
        """
        Ask where all histories stand, again and again, and at once after a lost connection: a
        lost message is seen with the next one, but the last one has no next.
        """
        while True:
            renewed = await _is_set(self._check_now, CHECK_SECONDS)
            self._check_now.clear()
            names = [name for name in self._topics if _history_key(name)[1] is not None]
            positions = await self._layer.read_positions(map(_history_key, names))
            if not renewed:
                await asyncio.sleep(ARRIVAL_SECONDS)
            for name, position in zip(names, positions, strict=True):
                if name in self._topics and position is not None:  # or the next round will see it
                    self._topics[name].compare(position)

    async def _add(self, destination: str, channel: str) -> None:
        if not is_pattern(destination):
            await self._layer.group_add(group_name(destination), channel)
            return
        glob = group_pattern(destination)
        self._patterns.setdefault(glob, {})[destination] = None
        await self._layer.pattern_add(glob, channel)

    async def _discard(self, destination: str, channel: str) -> None:
        if not is_pattern(destination):
            await self._layer.group_discard(group_name(destination), channel)
            return
        glob = group_pattern(destination)
        patterns = self._patterns.get(glob, {})
        patterns.pop(destination, None)
        if not patterns:
            self._patterns.pop(glob, None)
            await self._layer.pattern_discard(glob, channel)

    async def _open_channel(self) -> str:
        try:
            if hasattr(type(self._layer), "listen"):
                channel: str = await self._layer.listen(self._receive, self._check_now.set)
                self._checker = asyncio.create_task(self._check_all())
            else:
                channel = await self._layer.new_channel()
                self._receiver = asyncio.create_task(self._receive_all(channel))
        except BaseException:
            self._channel = None
            raise
        return channel

    def _receive(
        self, envelopes: Sequence[dict[str, Any]], first: str = "", pattern: str | None = None
    ) -> Awaitable[None] | None:
        """Deliver what came together; return what to wait for before the next, if anything."""
        at = Position.parse(first) if first else None
        if len(envelopes) == 1:  # a shorter way to the same
            message = open_envelope(envelopes[0], first or None)
            if message is not None:
                return self._deliver_in_turns((message,), at, pattern)
        ids = at.ids(len(envelopes)) if at is not None else itertools.repeat(None)
        messages = list(map(open_envelope, envelopes, ids))
        readable = [message for message in messages if message is not None]
        alike = len({message.destination for message in readable}) == 1
        if len(readable) == len(messages) and alike:
            return self._deliver_in_turns(readable, at, pattern)
        self._deliver_one_by_one(envelopes, messages, at, pattern)
        return None

    def _deliver_in_turns(
        self, messages: Sequence[Message], first: Position | None, pattern: str | None
    ) -> Awaitable[None] | None:
        """Deliver, no more at once than others can wait for; return what to wait for."""
        rest: Sequence[Message] = ()
        if len(messages) > 1:
            step = max(1, YIELD_DELIVERIES // self._kinds(messages[0].destination, pattern))
            messages, rest = messages[:step], messages[step:]
        try:
            self._delivered += self.deliver(messages, first, pattern)
        except Exception:  # what goes wrong here must not end the others
            logger.exception("a message could not be delivered")
        if rest:
            later = self._deliver_later(rest, first and first.after(len(messages)), pattern)
            return asyncio.ensure_future(later)
        if self._delivered < YIELD_DELIVERIES:
            return None
        self._delivered = 0
        return this_flusher().flushed()

    async def _deliver_later(
        self, messages: Sequence[Message], first: Position | None, pattern: str | None
    ) -> None:
        self._delivered = 0
        await this_flusher().flushed()
        wait = self._deliver_in_turns(messages, first, pattern)
        if wait is not None:
            await wait

    def _kinds(self, destination: str, pattern: str | None) -> int:
        """Return how many different frames each message becomes, or 1."""
        names = (destination,) if pattern is None else tuple(self._patterns.get(pattern, ()))
        return sum(self._topics[name].kinds for name in names if name in self._topics) or 1

    def _deliver_one_by_one(
        self,
        envelopes: Sequence[dict[str, Any]],
        messages: Sequence[Message | None],
        first: Position | None,
        pattern: str | None,
    ) -> None:
        """Deliver what can be read; what comes after the rest follows nothing."""
        for number, (envelope, message) in enumerate(zip(envelopes, messages, strict=True)):
            if message is None:
                logger.warning(
                    "skipped a message of type %r, version %r: another release sent it",
                    envelope.get("type"),
                    envelope.get("v"),
                )
            else:
                self._deliver_in_turns([message], first and first.after(number), pattern)

    async def _receive_all(self, channel: str) -> None:
        """Receive from a channel layer that can't call us."""
        while True:
            try:
                wait = self._receive([await self._layer.receive(channel)])
            except Exception:
                logger.exception("the channel layer failed")
                wait = asyncio.sleep(0.05)
            if wait is not None:
                await wait


async def _is_set(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event; return whether it was set in time."""
    with contextlib.suppress(TimeoutError):
        return await asyncio.wait_for(event.wait(), seconds)
    return False


def _history_key(destination: str) -> tuple[str, Any]:
    history = None if is_pattern(destination) else history_of(destination)
    return group_name(destination), history
