"""LoopLayer: what the channel layer has for one event loop: channels, and links to each Redis."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from channels.exceptions import ChannelFull
from channels_redis.pubsub import RedisPubSubLoopLayer
from channels_redis.utils import _consistent_hash, decode_hosts

from realtime.counters import counters
from realtime.messages.envelope import unbundle
from realtime.redis import address_shown, create_pool, open_pipeline
from realtime.redis.cluster import ClusterPool
from realtime.redis.subscriber import Receive, ShardedSubscriber, Subscriber

from .publishing import FOR_PATTERNS
from .scripts import SCRIPTS

logger = logging.getLogger(__name__)

#: Takes messages that came as one; the position of the first, or ""; and, where they came through
#: a pattern, the pattern. What it returns is awaited before the next.
Sink = Callable[[list[dict[str, Any]], str, str | None], Awaitable[object] | None]

#: After so many messages into queues those who read them have their turn.
YIELD_MESSAGES: Final = 50

#: Seconds between two warnings of messages that a full queue did not take.
WARNING_SECONDS: Final = 60.0


class LoopLayer(RedisPubSubLoopLayer):
    """The layer of one event loop; channels and groups are inherited, the links are not."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shards = self._shards = [
            Shard(host, self.receive_data, self.renewed, self.channel_layer.hears_sharded)
            for host in decode_hosts(kwargs["hosts"])
        ]
        self.sinks: dict[str, Sink] = {}
        self.patterns: dict[str, set[str]] = {}
        self.on_renewed: list[Callable[[], None]] = []
        self._warned_at = 0.0
        self._queued = 0  # since the readers last had their turn

    def shard_of(self, channel: str) -> Shard:
        return self.shards[_consistent_hash(channel, len(self.shards))]

    def renewed(self) -> None:
        """Tell those who listen that messages may be missing."""
        counters.reconnections += 1
        for tell in self.on_renewed:
            tell()

    @property
    def hears(self) -> bool:
        """Whether nothing is missed now of what is heard here."""
        return all(shard.hears for shard in self.shards)

    def receive_data(
        self, subscribed: bytes, channel: bytes, data: bytes
    ) -> Awaitable[object] | None:
        """Hand what came from Redis, under this name, to the local channels that want it."""
        name = subscribed.decode()
        if name in self.patterns:
            pattern = name.removeprefix(self._get_group_channel_name(""))
            return self._hand_over(self.patterns[name], data, pattern.removeprefix(FOR_PATTERNS))
        return self._hand_over(self.groups.get(name, (name,)), data)

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        queue = self.channels.get(channel)
        if queue is not None and queue.full():
            raise ChannelFull(channel)
        data = self.channel_layer.serialize(message)
        await self.shard_of(channel).pipeline.submit(("PUBLISH", channel, data))

    async def flush(self) -> None:
        self.sinks.clear()
        self.patterns.clear()
        self.on_renewed.clear()
        await super().flush()

    async def _subscribe_to_channel(self, channel: str) -> None:
        self.channels[channel] = asyncio.Queue(self.channel_layer.capacity)
        try:
            await self.shard_of(channel).subscriber.subscribe(channel)
        except BaseException:
            del self.channels[channel]
            raise

    def _hand_over(
        self, channels: Iterable[str], data: bytes, pattern: str | None = None
    ) -> Awaitable[object] | None:
        wait = None
        first, payloads = unbundle(data)
        for channel in tuple(channels):
            if channel in self.sinks:
                messages = list(map(self._deserialize, payloads))
                wait = self.sinks[channel](messages, first, pattern) or wait
            elif channel in self.channels:
                for payload in payloads:
                    self._queue(channel, payload)
        if self._queued >= YIELD_MESSAGES:
            self._queued = 0
            wait = wait or asyncio.sleep(0)
        return wait

    def _deserialize(self, payload: bytes) -> dict[str, Any]:
        """Return a message, or an empty one if it can't be read: others came with it."""
        try:
            message = self.channel_layer.deserialize(payload)
        except Exception:
            logger.exception("a message could not be read")
            return {}
        return message if isinstance(message, dict) else {}

    def _queue(self, channel: str, data: bytes) -> None:
        self._queued += 1
        try:
            self.channels[channel].put_nowait(data)
        except asyncio.QueueFull:
            # The layer's specification: a message to a group is dropped for a full channel. Its
            # sender is elsewhere and can't be told; operators can.
            if time.monotonic() - self._warned_at > WARNING_SECONDS:
                self._warned_at = time.monotonic()
                logger.warning("the channel %s is full: messages to it are dropped", channel)


class Shard:
    """
    A pipeline to publish with, and one :class:`.Subscriber`.

    Args:
        host: What :func:`.create_pool` takes.
        receive: Called with all that comes.
        renewed: Called when a lost connection was replaced: messages may be missing.
        hears_sharded: Whether groups are heard as sharded channels, too.
    """

    def __init__(
        self, host: Any, receive: Receive, renewed: Callable[[], None], hears_sharded: bool
    ) -> None:
        self._host = host
        self._hears_sharded = hears_sharded
        #: Where it is, fit to be shown.
        self.shown = address_shown(host)
        self._receive = receive
        self._renewed = renewed
        self._open()

    @property
    def hears(self) -> bool:
        """Whether nothing is missed now."""
        return self.subscriber.hears and (self.sharded is None or self.sharded.hears)

    def _open(self) -> None:
        self._pool = create_pool(self._host)
        self.pipeline = open_pipeline(self._pool, SCRIPTS)
        self.subscriber = Subscriber(self._pool, self._receive, self._renewed)
        self.sharded: ShardedSubscriber | None = None
        if self._hears_sharded and isinstance(self._pool, ClusterPool):
            self.sharded = ShardedSubscriber(self._pool, self._receive, self._renewed)
        self.subscribe = self.subscriber.subscribe if self.sharded is None else self._subscribe_both

    async def caught_up(self) -> None:
        """Return when it does not have to wait any more, or after a while."""
        await self.subscriber.caught_up()
        if self.sharded is not None:
            await self.sharded.caught_up()

    async def _subscribe_both(self, channel: str) -> None:
        assert self.sharded is not None
        await self.subscriber.subscribe(channel)
        await self.sharded.subscribe(channel)

    # What the inherited layer calls, beside subscribe

    async def unsubscribe(self, channel: str) -> None:
        self.subscriber.unsubscribe(channel)
        if self.sharded is not None:
            self.sharded.unsubscribe(channel)

    async def flush(self) -> None:
        await self.subscriber.aclose()
        if self.sharded is not None:
            await self.sharded.aclose()
        await self.pipeline.aclose()
        await self._pool.aclose()
        self._open()
