"""
Feed: who on this process hears one destination, and the messages for them; Membership: by which
they come here.

With a history, all of them stand at one position; what is not the very next message goes
through :class:`.CatchUp`, and a subscription begins where that says.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from realtime.counters import counters
from realtime.delivery.frames import Encoder, SharedFrames
from realtime.history.positions import Position
from realtime.layer.layer import TopicLayer
from realtime.layer.plain import PlainLayer
from realtime.messages.message import Message
from realtime.routes.topics import History

from .catch_up import CatchUp, Read
from .subscription import Start, Subscription

logger = logging.getLogger(__name__)

#: Returns the channel by which this process hears everything.
OpenChannel = Callable[[], Awaitable[str]]

#: Called with messages before they are handed to subscriptions, and with how many these are.
#: :mod:`realtime.tracing` sets it.
trace: Callable[[Sequence[Message], int], None] | None = None


class Membership:
    """
    This process in the group of one destination: joined once, confirmed often, left at the end.

    Args:
        layer: The channel layer.
        destination: A destination, or a pattern of topics.
        open_channel: Returns the channel on which it is heard.
        after: The leaving of the same destination that has to end first.
    """

    def __init__(
        self,
        layer: TopicLayer | PlainLayer,
        destination: str,
        open_channel: OpenChannel,
        after: asyncio.Task[None] | None,
    ) -> None:
        self._layer = layer
        self._destination = destination
        self._open_channel = open_channel
        self._joined = asyncio.create_task(self._join(after))

    async def joined(self) -> None:
        """
        Return when Redis has confirmed that it is heard.

        Raises:
            redis.RedisError: If Redis is away.
            DestinationError: If the channel layer can't hear it.
        """
        await asyncio.shield(self._joined)

    async def confirm(self) -> None:
        """
        Return when Redis has confirmed that it is heard still: not only once, long ago.

        Raises:
            redis.RedisError: If Redis is away.
        """
        await self.joined()
        await self._layer.join(self._destination, await self._open_channel())

    async def leave(self) -> None:
        """Hear it no longer; does not raise."""
        await asyncio.wait([self._joined])
        self._joined.exception()  # those who waited have seen it
        try:
            await self._layer.leave(self._destination, await self._open_channel())
        except Exception as error:
            logger.debug(  # whoever goes while Redis is away would say it for each topic
                "could not leave the group of %(destination)s: %(error)s",
                {"destination": self._destination, "error": str(error)},
            )

    async def _join(self, after: asyncio.Task[None] | None) -> None:
        if after is not None:
            await asyncio.wait([after])
        await self._layer.join(self._destination, await self._open_channel())


class Feed:
    """
    The local subscriptions of one destination or pattern.

    Args:
        history: How much of it is kept; None for nothing.
        read: Reads its history.
        membership: That of this process in its group.
    """

    def __init__(
        self, history: History | None, read: Read, membership: Membership | None = None
    ) -> None:
        self.membership = membership
        #: Who subscribed, also those who do not hear yet.
        self.members: dict[Subscription, None] = {}
        #: How many messages came since it is heard here, and in a second, of late.
        self.messages = 0
        self.per_second = 0.0
        self._measured = (time.monotonic(), 0)
        self._hearing: dict[Encoder, dict[Subscription, None]] = {}
        self._catch_up = CatchUp(self, history.size, read) if history is not None else None

    @property
    def kinds(self) -> int:
        """How many different frames a message becomes."""
        return len(self._hearing)

    @property
    def position(self) -> str | None:
        """The position of what was delivered last, where there is a history."""
        return self._catch_up.shown_position if self._catch_up is not None else None

    def measure(self) -> None:
        """Take note of how many messages have come since the last call."""
        (at, count), now = self._measured, time.monotonic()
        self.per_second = round((self.messages - count) / max(now - at, 0.001), 1)
        self._measured = (now, self.messages)

    def hearing(self) -> list[Subscription]:
        """Return all who hear."""
        return [each for alike in self._hearing.values() for each in alike]

    def add(self, subscription: Subscription) -> None:
        """Take in a subscription; where there is no history it hears at once."""
        self.members[subscription] = None
        if self._catch_up is None:
            self.hear(subscription)

    def hear(self, subscription: Subscription) -> None:
        """Let a subscription hear from now on."""
        self._hearing.setdefault(subscription.encoder, {})[subscription] = None

    def discard(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        self.members.pop(subscription, None)
        if self._catch_up is not None:
            self._catch_up.discard(subscription)
        alike = self._hearing.get(subscription.encoder, {})
        alike.pop(subscription, None)
        if not alike:
            self._hearing.pop(subscription.encoder, None)

    async def begin(self, subscription: Subscription) -> None:
        """
        Let a subscription begin, now that Redis has confirmed that its destination is heard.

        Raises:
            redis.RedisError: If the history can't be read.
        """
        if self._catch_up is None:
            subscription.begin(Start(), ())
        else:
            await self._catch_up.begin(subscription)

    def receive(self, messages: Sequence[Message], first: str = "") -> int:
        """
        Deliver messages to all who hear; return how often.

        Args:
            first: The position of the first of them; "" if they have none.
        """
        catch_up = self._catch_up
        if catch_up is None or not first:
            return self.deliver(messages)
        if first == catch_up.expected:  # most are: a shorter way to the same
            catch_up.offset += len(messages)
            catch_up.expected = f"{catch_up.epoch}-{catch_up.offset + 1}"
            return self.deliver(messages)
        due = catch_up.receive(messages, first)
        return self.deliver(due) if due else 0

    def compare(self, position: Position) -> None:
        """Take note of where Redis stood: what has not come by now is missing, and read."""
        if self._catch_up is not None:
            self._catch_up.compare(position)

    def close(self) -> None:
        """Stop reading."""
        if self._catch_up is not None:
            self._catch_up.close()

    def deliver(self, messages: Sequence[Message]) -> int:
        """Hand messages to all who hear; return how often."""
        if trace is not None:
            trace(messages, sum(map(len, self._hearing.values())))
        shared = SharedFrames(*messages)
        self.messages += len(messages)
        count = 0
        for encoder, alike in tuple(self._hearing.items()):
            frames = shared.frames_for(encoder)
            count += len(alike) * len(messages)
            counters.bytes_out += len(alike) * frames.size
            for subscription in tuple(alike):
                subscription.deliver(frames)
        return count
