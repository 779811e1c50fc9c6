"""The hub: which local subscription hears which destination, through one channel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from channels.layers import get_channel_layer

from .broker import Message, open_envelope
from .destinations import (
    DestinationError,
    compile_pattern,
    group_name,
    group_pattern,
    is_pattern,
)
from .outbox import Payload, this_flusher
from .stomp import ack_id, encode_headers

logger = logging.getLogger(__name__)

#: After so many deliveries the hub lets the outboxes write, and others have their turn.
YIELD_DELIVERIES: Final = 1000

#: What makes frames differ: the version, the ``subscription`` header, and whether it has ``ack``.
FrameKey = tuple[str, str | None, bool]


@dataclass(eq=False, slots=True)
class Subscription:
    """
    A client's SUBSCRIBE, as the hub knows it.

    Args:
        destination: What it hears: a destination, or a pattern of topics.
        id: The ``subscription`` header of its MESSAGE frames; None in STOMP 1.0 without id.
        version: The STOMP version of its session.
        deliver: Takes each MESSAGE frame; must not block or raise.
        acknowledged: Whether its MESSAGE frames are to be acknowledged.
    """

    destination: str
    id: str | None
    version: str
    deliver: Callable[[Payload], None]
    acknowledged: bool = False

    @property
    def key(self) -> FrameKey:
        """Who has the same key shares the frames of each message."""
        return (self.version, self.id, self.acknowledged)


class MessageFrames:
    """The MESSAGE frames of one message, each made once for all who can share it."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self._frames: dict[FrameKey, Payload] = {}
        self._heads: dict[str, bytes] = {}

    def frame_for(self, key: FrameKey) -> Payload:
        """Return the frame that subscriptions with this key get."""
        payload = self._frames.get(key)
        if payload is None:
            message = self._message
            payload = Payload(self._encode(*key), message.destination, message.id)
            self._frames[key] = payload
        return payload

    def _encode(self, version: str, subscription_id: str | None, acknowledged: bool) -> bytes:
        head = self._heads.get(version)
        if head is None:
            head = self._heads[version] = self._encode_head(version)
        own = {} if subscription_id is None else {"subscription": subscription_id}
        if acknowledged and version == "1.2":
            own["ack"] = ack_id(subscription_id or "", self._message.id)
        return b"%b%b\n%b\0" % (head, encode_headers(own, version), self._message.body)

    def _encode_head(self, version: str) -> bytes:
        message = self._message
        own = {"destination": message.destination, "message-id": message.id}
        length = {"content-length": str(len(message.body))}
        headers = {**own, **message.headers, **own, **length}  # ours first, and ours count
        return b"MESSAGE\n" + encode_headers(headers, version)


@dataclass(slots=True)
class _Heard:
    """
    The local subscriptions of one destination or pattern, by what makes their frames differ.

    ``joined`` ends when Redis confirmed.
    """

    joined: asyncio.Task[None]
    subscriptions: dict[FrameKey, dict[Subscription, None]] = field(default_factory=dict)

    def add(self, subscription: Subscription) -> None:
        self.subscriptions.setdefault(subscription.key, {})[subscription] = None

    def discard(self, subscription: Subscription) -> None:
        alike = self.subscriptions.get(subscription.key, {})
        alike.pop(subscription, None)
        if not alike:
            self.subscriptions.pop(subscription.key, None)

    def __contains__(self, subscription: Subscription) -> bool:
        return subscription in self.subscriptions.get(subscription.key, ())

    def deliver(self, frames: MessageFrames) -> int:
        """Hand a message to all; return to how many."""
        count = 0
        for key, alike in tuple(self.subscriptions.items()):
            payload = frames.frame_for(key)
            count += len(alike)
            for subscription in tuple(alike):
                subscription.deliver(payload)
        return count


class Hub:
    """
    Join the channel-layer group of a destination for its first local subscription, leave it
    with the last, and hand each message that arrives to every one in between.
    """

    def __init__(self) -> None:
        self._layer: Any = get_channel_layer()
        self._heard: dict[str, _Heard] = {}
        self._patterns: dict[str, dict[str, None]] = {}  # the patterns heard, by their globs
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._channel: asyncio.Task[str] | None = None
        self._receiver: asyncio.Task[None] | None = None
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
        heard = self._heard.get(destination)
        if heard is None:
            joined = asyncio.create_task(self._join(destination, self._leaving.get(destination)))
            heard = self._heard[destination] = _Heard(joined)
        heard.add(subscription)
        return self._certain(heard, subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription: from now on nothing is delivered to it."""
        heard = self._heard.get(subscription.destination)
        if heard is not None:
            self._remove(heard, subscription)

    def deliver(self, message: Message, pattern: str | None = None) -> int:
        """
        Hand a message to the local subscriptions of its destination or, if it came through
        the glob of some patterns, of those that stand for it; return to how many.
        """
        frames = MessageFrames(message)
        return sum(heard.deliver(frames) for heard in self._hearing(message.destination, pattern))

    async def close(self) -> None:
        """Stop hearing anything."""
        if self._receiver is not None:
            self._receiver.cancel()
            await asyncio.wait([self._receiver])

    def _hearing(self, destination: str, pattern: str | None) -> Iterable[_Heard]:
        if pattern is None:
            names = [destination]
        else:
            patterns = self._patterns.get(pattern, ())
            names = [name for name in patterns if compile_pattern(name).fullmatch(destination)]
        return [self._heard[name] for name in names if name in self._heard]

    def _remove(self, heard: _Heard, subscription: Subscription) -> None:
        heard.discard(subscription)
        destination = subscription.destination
        if not heard.subscriptions and self._heard.get(destination) is heard:
            del self._heard[destination]
            self._leaving[destination] = asyncio.create_task(self._leave(destination, heard))

    async def _certain(self, heard: _Heard, subscription: Subscription) -> None:
        """Return when Redis has confirmed that it is heard, now and not only once."""
        try:
            await asyncio.shield(heard.joined)
            if subscription in heard and self._channel is not None:
                await self._add(subscription.destination, self._channel.result())
        except BaseException:
            self._remove(heard, subscription)
            raise

    async def _join(self, destination: str, leaving: asyncio.Task[None] | None) -> None:
        if leaving is not None:
            await asyncio.wait([leaving])
        if self._channel is None:
            self._channel = asyncio.create_task(self._open_channel())
        await self._add(destination, await asyncio.shield(self._channel))

    async def _leave(self, destination: str, heard: _Heard) -> None:
        try:
            await asyncio.wait([heard.joined])
            heard.joined.exception()  # those who waited have seen it
            if self._channel is not None and self._channel.done():
                await self._discard(destination, self._channel.result())
        except Exception as error:
            logger.warning("could not leave the group of %s: %s", destination, error)
        finally:
            if self._leaving.get(destination) is asyncio.current_task():
                del self._leaving[destination]

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
                channel: str = await self._layer.listen(self._receive)
            else:
                channel = await self._layer.new_channel()
                self._receiver = asyncio.create_task(self._receive_all(channel))
        except BaseException:
            self._channel = None
            raise
        return channel

    def _receive(
        self, envelope: dict[str, Any], pattern: str | None = None
    ) -> Awaitable[None] | None:
        """Deliver what came; return what to wait for before the next, if anything."""
        try:
            message = open_envelope(envelope)
            if message is None:
                logger.warning(
                    "skipped a message of type %r, version %r: another release sent it",
                    envelope.get("type"),
                    envelope.get("v"),
                )
            else:
                self._delivered += self.deliver(message, pattern)
        except Exception:  # one bad message must not end the others
            logger.exception("a message could not be delivered")
        if self._delivered < YIELD_DELIVERIES:
            return None
        self._delivered = 0
        return this_flusher().flushed()

    async def _receive_all(self, channel: str) -> None:
        """Receive from a channel layer that can't call us."""
        while True:
            try:
                wait = self._receive(await self._layer.receive(channel))
            except Exception:
                logger.exception("the channel layer failed")
                wait = asyncio.sleep(0.05)
            if wait is not None:
                await wait
