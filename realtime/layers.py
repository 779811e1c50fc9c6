"""
The channel layer: channels_redis' pub/sub layer, made fit for many topics.

What it adds to :class:`channels_redis.pubsub.RedisPubSubChannelLayer`, whose contract it keeps:

* messages sent in one turn of the loop travel to Redis in one write, and :meth:`.TopicLayer.room`
  waits while too many are on their way;
* ``group_add`` returns when Redis has confirmed the subscription: what is sent to the
  group from then on, by anybody, arrives;
* one task owns the subscribing connection; after any error it builds a new one with the
  wanted subscriptions, and a link that falls silent counts as an error;
* a channel's messages may go to a function at once, instead of through a queue: see
  :meth:`.TopicLayer.listen`. The queues of other channels are bounded by ``capacity``;
* patterns of groups may be heard: :meth:`.TopicLayer.pattern_add`;
* ``submit_many_sync`` for views and commands, without an event loop;
* the extension "history" (see :mod:`realtime.history`): messages that are kept, with positions.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

import redis
from channels.exceptions import ChannelFull
from channels_redis.pubsub import RedisPubSubChannelLayer, RedisPubSubLoopLayer
from channels_redis.utils import _consistent_hash, _wrap_close, decode_hosts

from .broker import open_envelope
from .destinations import is_hashed, readable_name
from .history import (
    PUBLISH,
    READ,
    SCRIPTS,
    Entry,
    History,
    Log,
    Position,
    new_epoch,
    parse_ended,
    split_position,
)
from .redis import Call, create_client, execute_all
from .shards import Shard

logger = logging.getLogger(__name__)

#: Takes a message and, where it came through a pattern, the pattern; what it returns is awaited
#: before the next.
Sink = Callable[[dict[str, Any], str | None], Awaitable[object] | None]

#: After so many messages into queues those who read them have their turn.
YIELD_MESSAGES: Final = 50

#: Seconds between two warnings of messages that a full queue did not take.
WARNING_SECONDS: Final = 60.0


class TopicLayer(RedisPubSubChannelLayer):
    """
    The channel layer of the gateway; see the module.

    Configured as channels_redis' own: ``hosts`` (URLs, or dicts with ``address`` or
    ``sentinels`` and options of the connection), ``prefix``, and ``capacity``, the number of
    messages that may wait in one channel.
    """

    def __init__(
        self,
        hosts: list[Any] | None = None,
        prefix: str = "asgi",
        capacity: int = 1000,
        **options: Any,
    ):
        super().__init__(hosts=hosts, prefix=prefix, **options)
        self.capacity = capacity
        self._hosts = decode_hosts(hosts)
        self._group_channel_prefix = f"{prefix}__group__"
        self._clients: dict[int, redis.Redis] = {}

    def deserialize(self, data: bytes) -> Any:
        position, payload = split_position(data)
        message = super().deserialize(payload)
        if position is not None:
            message["position"] = position
        return message

    def submit(
        self,
        group: str,
        message: dict[str, Any],
        history: History | None = None,
        once: str | None = None,
    ) -> asyncio.Future[Any]:
        """
        Send to a group as ``group_send`` does, in the order of the calls; the future ends when
        Redis took the message, or with one of :data:`.REDIS_ERRORS`.

        With ``history`` the message is kept, and the answer is its position, as bytes. With
        ``once`` the answer is what it was the first time, if that key was used lately.
        """
        layer = self._get_layer()
        pipeline = layer.shard_of(self._group_channel_prefix + group).pipeline
        *others, last = self._commands(group, message, history, once)
        for command in others:
            pipeline.submit(command)
        return pipeline.submit(last)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self.room()
        await self.submit(group, message)

    async def room(self) -> None:
        """
        Return when more may be sent: too much on its way to Redis would pile up here, and more
        than this process can hear would pile up there.
        """
        for shard in self._get_layer().shards:
            await shard.pipeline.room()
            await shard.subscriber.caught_up()

    def submit_many_sync(self, messages: Iterable[tuple[Any, ...]]) -> list[Any]:
        """
        Send messages, each the arguments of :meth:`submit`, from synchronous code, in one round
        trip to each Redis, on connections that threads share; return the answers.

        Raises:
            redis.RedisError: If Redis did not take all of them.
        """
        commands: dict[int, list[Any]] = {}
        places = []
        for group, *rest in messages:
            shard = _consistent_hash(self._group_channel_prefix + group, len(self._hosts))
            of_shard = commands.setdefault(shard, [])
            of_shard += self._commands(group, *rest)
            places.append((shard, len(of_shard) - 1))
        answers = {
            shard: execute_all(self._client(shard), of_shard, SCRIPTS)
            for shard, of_shard in commands.items()
        }
        return [answers[shard][place] for shard, place in places]

    def _commands(
        self,
        group: str,
        message: dict[str, Any],
        history: History | None = None,
        once: str | None = None,
    ) -> list[tuple[Any, ...] | Call]:
        """Return what publishes a message; the answer to the last one counts."""
        data = self.serialize(message)
        channels = self.group_channels(group, message)
        if history is None and once is None:
            return [("PUBLISH", channel, data) for channel in reversed(channels)]
        keys = self._keys(group)
        if once is not None:
            keys = (*keys, f"{keys[0]}:once:{sha256(once.encode()).hexdigest()}")
        size, ttl = (history.size, history.ttl * 1000) if history is not None else (0, 0)
        message_id = message["headers"]["message-id"]
        arguments = (new_epoch(), str(size), str(ttl), data, message_id, *channels)
        return [Call(PUBLISH, keys, arguments)]

    def group_channels(self, group: str, message: dict[str, Any]) -> list[str]:
        """
        Return the Redis channels that a message to a group is published on: one, and where
        the group's name is a hash, which no pattern can match, a second for patterns.
        """
        channels = [self._group_channel_prefix + group]
        if is_hashed(group) and "destination" in message:
            channels.append(self._group_channel_prefix + readable_name(message["destination"]))
        return channels

    def _keys(self, group: str) -> tuple[str, ...]:
        """Return where the position and the entries of a group are; in one slot of a cluster."""
        slot = f"{{{self._group_channel_prefix}{group}}}"
        return f"{slot}:position", f"{slot}:entries"

    async def read_history(self, groups: Iterable[tuple[str, History]], count: int) -> list[Log]:
        """
        Return the histories of groups, each with so many of its newest entries, in one round trip.

        Raises:
            redis.RedisError: If Redis is away.
        """
        layer = self._get_layer()
        asked = list(groups)
        answers = []
        for group, history in asked:
            pipeline = layer.shard_of(self._group_channel_prefix + group).pipeline
            wanted = str(min(count, history.size))
            arguments = (new_epoch(), wanted, str(history.ttl * 1000))
            answers.append(pipeline.submit(Call(READ, self._keys(group), arguments)))
        read = await asyncio.gather(*answers)
        return [
            self._log(answer, history) for answer, (_, history) in zip(read, asked, strict=True)
        ]

    def _log(self, answer: list[Any], history: History) -> Log:
        epoch, offset, ended, now, newest = answer
        log = Log(Position(epoch.decode(), offset), parse_ended(ended), history.size, history.ttl)
        clock = time.monotonic()
        for number, (entry_id, (_, data)) in enumerate(newest):
            milliseconds, _, entry_offset = entry_id.partition(b"-")
            if int(entry_offset) != offset - number:
                break  # what is older belongs to something that Redis has forgotten
            expires = clock + history.ttl - (int(now) - int(milliseconds)) / 1000
            message = open_envelope(self.deserialize(data))
            if message is None:
                break
            position = str(Position(log.position.epoch, offset - number))
            log.entries.appendleft(Entry(offset - number, expires, replace(message, id=position)))
        return log

    async def listen(self, sink: Sink, renewed: Callable[[], None] = lambda: None) -> str:
        """
        Return a new channel whose messages go to a function at once, in order: no queue, so
        nothing can overflow. It must not raise.

        ``renewed`` is called when a lost connection was replaced: messages may be missing.
        """
        layer = self._get_layer()
        channel: str = await self.new_channel()
        layer.sinks[channel] = sink
        layer.on_renewed.append(renewed)
        return channel

    async def pattern_add(self, pattern: str, channel: str) -> None:
        """
        Hear all groups whose names match a glob-style pattern, on a channel of :meth:`listen`;
        return when Redis has confirmed it.
        """
        layer = self._get_layer()
        name = self._group_channel_prefix + pattern
        layer.patterns.setdefault(name, set()).add(channel)
        for shard in layer.shards:
            await shard.subscriber.subscribe(name, pattern=True)

    async def pattern_discard(self, pattern: str, channel: str) -> None:
        """Undo :meth:`pattern_add`."""
        layer = self._get_layer()
        name = self._group_channel_prefix + pattern
        channels = layer.patterns.get(name, set())
        channels.discard(channel)
        if not channels:
            layer.patterns.pop(name, None)
            for shard in layer.shards:
                shard.subscriber.unsubscribe(name, pattern=True)

    def _client(self, shard: int) -> redis.Redis:
        if shard not in self._clients:
            self._clients[shard] = create_client(self._hosts[shard])
        return self._clients[shard]

    def _get_layer(self) -> _LoopLayer:
        loop = asyncio.get_running_loop()
        layer = self._layers.get(loop)
        if layer is None:
            layer = self._layers[loop] = _LoopLayer(*self._args, **self._kwargs, channel_layer=self)
            _wrap_close(self, loop)
        return layer


class _LoopLayer(RedisPubSubLoopLayer):
    """The layer of one event loop; channels and groups are inherited, the links are not."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shards = self._shards = [
            Shard(host, self.receive_data, self.renewed) for host in decode_hosts(kwargs["hosts"])
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
        for tell in self.on_renewed:
            tell()

    def receive_data(self, name: str, data: bytes) -> Awaitable[object] | None:
        """Hand what came from Redis, under this name, to the local channels that want it."""
        if name in self.patterns:
            pattern = name.removeprefix(self._get_group_channel_name(""))
            return self._hand_over(self.patterns[name], data, pattern)
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
            await self.shard_of(channel).subscribe(channel)
        except BaseException:
            del self.channels[channel]
            raise

    def _hand_over(
        self, channels: Iterable[str], data: bytes, pattern: str | None = None
    ) -> Awaitable[object] | None:
        wait = None
        for channel in tuple(channels):
            if channel in self.sinks:
                wait = self.sinks[channel](self.channel_layer.deserialize(data), pattern) or wait
            elif channel in self.channels:
                self._queue(channel, data)
        if self._queued >= YIELD_MESSAGES:
            self._queued = 0
            wait = wait or asyncio.sleep(0)
        return wait

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
