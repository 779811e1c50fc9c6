"""The hub: which local subscription hears which destination, through one channel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from channels.layers import get_channel_layer

from .broker import Message, open_envelope
from .destinations import group_name
from .outbox import Payload
from .stomp import Frame, ack_id, encode_head

logger = logging.getLogger(__name__)

#: After so many bytes the hub lets the outboxes write, or a burst would overflow them.
YIELD_BYTES: Final = 128 * 1024


@dataclass(eq=False, slots=True)
class Subscription:
    """
    A client's SUBSCRIBE, as the hub knows it.

    Args:
        destination: What it hears.
        id: The ``subscription`` header of its MESSAGE frames; None in STOMP 1.0 without id.
        version: The STOMP version of its session.
        deliver: Takes each message's id and MESSAGE frame; must not block or raise.
        acknowledged: Whether its MESSAGE frames are to be acknowledged.
    """

    destination: str
    id: str | None
    version: str
    deliver: Callable[[str, Payload], None]
    acknowledged: bool = False


class MessageFrames:
    """The MESSAGE frames of one message, each made once for all who can share it."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self._frames: dict[tuple[str, str | None, bool], Payload] = {}
        self._heads: dict[str, bytes] = {}

    def frame_for(self, subscription: Subscription) -> Payload:
        """Return the frame that this subscription gets."""
        key = (subscription.version, subscription.id, subscription.acknowledged)
        payload = self._frames.get(key)
        if payload is None:
            payload = self._frames[key] = Payload(self._encode(*key))
        return payload

    def _encode(self, version: str, subscription_id: str | None, acknowledged: bool) -> bytes:
        head = self._heads.get(version)
        if head is None:
            head = self._heads[version] = self._encode_head(version)
        own = {} if subscription_id is None else {"subscription": subscription_id}
        if acknowledged and version == "1.2":
            own["ack"] = ack_id(subscription_id or "", self._message.id)
        # Frame("") encodes as an empty command line: what follows it are the header lines.
        return head + encode_head(Frame("", own), version)[1:] + b"\n" + self._message.body + b"\0"

    def _encode_head(self, version: str) -> bytes:
        message = self._message
        headers = {"destination": message.destination, "message-id": message.id}
        headers |= message.headers
        headers["content-length"] = str(len(message.body))
        return encode_head(Frame("MESSAGE", headers, message.body), version)


@dataclass(slots=True)
class _Topic:
    """The local subscriptions of one destination; ``joined`` ends when Redis confirmed."""

    joined: asyncio.Task[None]
    subscriptions: dict[Subscription, None] = field(default_factory=dict)


class Hub:
    """
    Join the channel-layer group of a destination for its first local subscription, leave it
    with the last, and hand each message that arrives to every one in between.
    """

    def __init__(self) -> None:
        self._layer: Any = get_channel_layer()
        self._topics: dict[str, _Topic] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._channel: asyncio.Task[str] | None = None
        self._receiver: asyncio.Task[None] | None = None

    def subscribe(self, subscription: Subscription) -> Awaitable[None]:
        """
        Add a subscription at once; messages that are published after what this returns has
        been awaited are delivered to it.

        Awaiting raises :class:`redis.RedisError` if Redis is away; the subscription is then
        removed again.
        """
        destination = subscription.destination
        topic = self._topics.get(destination)
        if topic is None:
            joined = asyncio.create_task(self._join(destination, self._leaving.get(destination)))
            topic = self._topics[destination] = _Topic(joined)
        topic.subscriptions[subscription] = None
        return self._heard(topic, subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription: from now on nothing is delivered to it."""
        topic = self._topics.get(subscription.destination)
        if topic is not None:
            self._remove(topic, subscription)

    def deliver(self, message: Message) -> int:
        """
        Hand a message to the local subscriptions of its destination; return how many bytes
        that were.
        """
        topic = self._topics.get(message.destination)
        if topic is None:
            return 0
        frames = MessageFrames(message)
        delivered = 0
        for subscription in tuple(topic.subscriptions):
            payload = frames.frame_for(subscription)
            subscription.deliver(message.id, payload)
            delivered += payload.size
        return delivered

    async def close(self) -> None:
        """Stop hearing anything."""
        if self._receiver is not None:
            self._receiver.cancel()
            await asyncio.wait([self._receiver])

    def _remove(self, topic: _Topic, subscription: Subscription) -> None:
        topic.subscriptions.pop(subscription, None)
        destination = subscription.destination
        if not topic.subscriptions and self._topics.get(destination) is topic:
            del self._topics[destination]
            self._leaving[destination] = asyncio.create_task(self._leave(destination, topic))

    async def _heard(self, topic: _Topic, subscription: Subscription) -> None:
        """Return when Redis has confirmed that the topic is heard, now and not only once."""
        try:
            await asyncio.shield(topic.joined)
            if subscription in topic.subscriptions and self._channel is not None:
                group = group_name(subscription.destination)
                await self._layer.group_add(group, self._channel.result())
        except BaseException:
            self._remove(topic, subscription)
            raise

    async def _join(self, destination: str, leaving: asyncio.Task[None] | None) -> None:
        if leaving is not None:
            await asyncio.wait([leaving])
        if self._channel is None:
            self._channel = asyncio.create_task(self._open_channel())
        channel = await asyncio.shield(self._channel)
        await self._layer.group_add(group_name(destination), channel)

    async def _leave(self, destination: str, topic: _Topic) -> None:
        try:
            await asyncio.wait([topic.joined])
            topic.joined.exception()  # those who waited have seen it
            if self._channel is not None and self._channel.done():
                await self._layer.group_discard(group_name(destination), self._channel.result())
        except Exception as error:
            logger.warning("could not leave the group of %s: %s", destination, error)
        finally:
            if self._leaving.get(destination) is asyncio.current_task():
                del self._leaving[destination]

    async def _open_channel(self) -> str:
        try:
            channel: str = await self._layer.new_channel()
        except BaseException:
            self._channel = None
            raise
        self._receiver = asyncio.create_task(self._receive(channel), name="realtime-hub")
        return channel

    async def _receive(self, channel: str) -> None:
        delivered = 0
        while True:
            if delivered > YIELD_BYTES:
                delivered = 0
                await asyncio.sleep(0)
            try:
                envelope = await self._layer.receive(channel)
                message = open_envelope(envelope)
                if message is None:
                    logger.warning(
                        "skipped a message of type %r, version %r: another release sent it",
                        envelope.get("type"),
                        envelope.get("v"),
                    )
                else:
                    delivered += self.deliver(message)
            except Exception:  # one bad message must not end the others
                logger.exception("a message could not be delivered")
                await asyncio.sleep(0.05)
