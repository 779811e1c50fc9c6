"""The hub: which local subscription hears which destination, through one channel."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Any, Final

from channels.layers import get_channel_layer

from realtime.destinations.groups import group_name
from realtime.destinations.names import DestinationError, is_pattern
from realtime.destinations.patterns import pattern_of
from realtime.history.log import Log
from realtime.history.positions import Position
from realtime.messages.message import Message
from realtime.routes.topics import history_of

from .feed import Topic
from .receiver import Receiver
from .subscription import Subscription

logger = logging.getLogger(__name__)

#: Seconds between two questions where the histories stand.
CHECK_SECONDS: Final = 5.0

#: Seconds after which what was published then has arrived here, or is lost.
ARRIVAL_SECONDS: Final = 1.0


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
        self._receiver = Receiver(self)
        self._polling: asyncio.Task[None] | None = None
        self._checker: asyncio.Task[None] | None = None
        self._check_now = asyncio.Event()

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
        topics = self._topics_of(destination, pattern)
        return sum([topic.receive(messages, None) for topic in topics])

    def kinds(self, destination: str, pattern: str | None = None) -> int:
        """Return how many different frames each message becomes that :meth:`deliver` takes."""
        return sum([topic.kinds for topic in self._topics_of(destination, pattern)])

    async def close(self) -> None:
        """Stop hearing anything."""
        tasks = [task for task in (self._polling, self._checker) if task is not None]
        for task in tasks:
            task.cancel()
        for topic in self._topics.values():
            topic.close()
        if tasks:
            await asyncio.wait(tasks)

    def _topics_of(self, destination: str, pattern: str | None) -> list[Topic]:
        """Return who hears a destination, or what came to it through the glob of patterns."""
        if pattern is None:
            return [self._topics[destination]] if destination in self._topics else []
        return [
            self._topics[name]
            for name in self._patterns.get(pattern, ())
            if name in self._topics and pattern_of(name).matches(destination)
        ]

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
        glob = pattern_of(destination).glob
        self._patterns.setdefault(glob, {})[destination] = None
        await self._layer.pattern_add(glob, channel)

    async def _discard(self, destination: str, channel: str) -> None:
        if not is_pattern(destination):
            await self._layer.group_discard(group_name(destination), channel)
            return
        glob = pattern_of(destination).glob
        patterns = self._patterns.get(glob, {})
        patterns.pop(destination, None)
        if not patterns:
            self._patterns.pop(glob, None)
            await self._layer.pattern_discard(glob, channel)

    async def _open_channel(self) -> str:
        try:
            if hasattr(type(self._layer), "listen"):
                channel: str = await self._layer.listen(self._receiver.receive, self._check_now.set)
                self._checker = asyncio.create_task(self._check_all())
            else:
                channel = await self._layer.new_channel()
                self._polling = asyncio.create_task(self._receive_all(channel))
        except BaseException:
            self._channel = None
            raise
        return channel

    async def _receive_all(self, channel: str) -> None:
        """Receive from a channel layer that can't call us."""
        while True:
            try:
                wait = self._receiver.receive([await self._layer.receive(channel)])
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
