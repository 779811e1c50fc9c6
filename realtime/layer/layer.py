"""
TopicLayer: channels_redis' pub/sub layer, made fit for many topics.

What it adds to :class:`channels_redis.pubsub.RedisPubSubChannelLayer`, whose contract it keeps:

* ``group_add`` returns when Redis has confirmed the subscription: what is sent to the
  group from then on, by anybody, arrives;
* one task owns the subscribing connection; after any error it builds a new one with the
  wanted subscriptions, and a link that falls silent counts as an error;
* a channel's messages may go to a function at once, instead of through a queue: see
  :meth:`.TopicLayer.listen`. The queues of other channels are bounded by ``capacity``;
* patterns of groups may be heard: :meth:`.TopicLayer.pattern_add`;
* ``publisher`` and ``reader``: messages that are kept, with positions, and reading them, for
  asynchronous and synchronous code.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import redis
from channels_redis.pubsub import RedisPubSubChannelLayer
from channels_redis.utils import _consistent_hash, _wrap_close, decode_hosts

from realtime.destinations.groups import group_name, mark_of
from realtime.destinations.names import is_pattern
from realtime.destinations.patterns import pattern_of
from realtime.history.log import Entry, Log
from realtime.history.positions import Position, parse_ended
from realtime.messages.envelope import FORMAT, open_envelope
from realtime.redis.cluster import ClusterClient
from realtime.redis.commands import Call
from realtime.redis.connect import create_client, execute_all
from realtime.redis.hosts import decode_host
from realtime.routes.topics import History

from .loop import LoopLayer, Sink
from .publishing import FOR_PATTERNS, Publication, Publisher
from .scripts import READ, SCRIPTS, history_keys

#: Whether a cluster's sharded channels are used; see :class:`TopicLayer`.
SHARDED: Final = ("off", "hear", "on")

#: A group, and how much of it is kept.
Kept = tuple[str, History]


class TopicLayer(RedisPubSubChannelLayer):
    """
    The channel layer of the gateway; see the module.

    Configured as channels_redis' own: ``hosts`` (URLs, or dicts with ``address`` or
    ``sentinels`` and options of the connection; those of :mod:`realtime.redis.hosts`), ``prefix``,
    ``capacity``, the number of messages that may wait in one channel, ``replicas``, the number
    of replicas that have to have a message to a group before it counts as taken, and ``sharded``.

    In a cluster Redis sends what is published to all nodes. With "on" for ``sharded`` it stays on
    that which has the group. "hear" is on the way there: all have to hear it before one publishes
    so. Patterns hear what is published to topics then, and nothing else.

    Raises:
        ValueError: If ``sharded`` is none of "off", "hear" and "on".
    """

    def __init__(
        self,
        hosts: list[Any] | None = None,
        prefix: str = "asgi",
        capacity: int = 1000,
        replicas: int = 0,
        sharded: str = "off",
        **options: Any,
    ):
        if sharded not in SHARDED:
            raise ValueError(f"{sharded!r} is not one of {', '.join(SHARDED)}")
        super().__init__(hosts=hosts, prefix=prefix, **{"serializer_format": FORMAT, **options})
        self.prefix = prefix
        self.capacity = capacity
        self.replicas = replicas
        self._hosts = decode_hosts(hosts)
        in_clusters = all("cluster" in decode_host(host) for host in self._hosts)
        #: Whether groups are heard, and are published to, as sharded channels.
        self.hears_sharded = in_clusters and sharded != "off"
        self.publishes_sharded = in_clusters and sharded == "on"
        self._clients: dict[int, redis.Redis | ClusterClient] = {}
        self._group_prefix = f"{prefix}__group__"
        #: What each event loop has: its channels, and the links to each Redis.
        self.links: dict[asyncio.AbstractEventLoop, LoopLayer] = self._layers
        self.has_several_shards = len(self._hosts) > 1
        #: Whether messages are msgpack and nothing else: neither encrypted nor padded.
        self.is_plain: bool = getattr(self._serializer, "is_plain", False)
        self.publisher = Publisher(self, self._group_prefix)
        self.reader = Reader(self, self._group_prefix)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self.publisher.ready()
        (answer,) = await self.publisher.publish([Publication(group, message)])
        if isinstance(answer, BaseException):
            raise answer

    async def listen(self, sink: Sink, renewed: Callable[[], None] = lambda: None) -> str:
        """
        Return a new channel whose messages go to a function at once, in order, those that came
        as one together: no queue, so nothing can overflow. It must not raise.

        ``renewed`` is called when a lost connection was replaced: messages may be missing.
        """
        links = self.open_links()
        channel: str = await self.new_channel()
        links.sinks[channel] = sink
        links.on_renewed.append(renewed)
        return channel

    async def join(self, destination: str, channel: str) -> None:
        """
        Hear a destination, or a pattern of topics, on a channel of :meth:`listen`; return when
        Redis has confirmed it.
        """
        if is_pattern(destination):
            await self.pattern_add(pattern_of(destination).glob, channel)
        else:
            await self.group_add(group_name(destination), channel)

    async def leave(self, destination: str, channel: str) -> None:
        """Undo :meth:`join`; where patterns have the same glob, of the last of them."""
        if is_pattern(destination):
            await self.pattern_discard(pattern_of(destination).glob, channel)
        else:
            await self.group_discard(group_name(destination), channel)

    async def pattern_add(self, pattern: str, channel: str) -> None:
        """
        Hear all groups whose names match a glob-style pattern, on a channel of :meth:`listen`;
        return when Redis has confirmed it.
        """
        links = self.open_links()
        for name in self._pattern_names(pattern):
            links.patterns.setdefault(name, set()).add(channel)
            for shard in links.shards:
                await shard.subscriber.subscribe(name, pattern=True)
        for shard in links.shards:
            if shard.sharded is not None:
                await shard.sharded.mark(self.mark_channel(mark_of(pattern)))

    async def pattern_discard(self, pattern: str, channel: str) -> None:
        """Undo :meth:`pattern_add`."""
        links = self.open_links()
        for name in self._pattern_names(pattern):
            channels = links.patterns.get(name, set())
            channels.discard(channel)
            if not channels:
                links.patterns.pop(name, None)
                for shard in links.shards:
                    shard.subscriber.unsubscribe(name, pattern=True)
        marks = {mark_of(name.removeprefix(self._group_prefix)) for name in links.patterns}
        for shard in links.shards:
            if shard.sharded is not None and mark_of(pattern) not in marks:
                shard.sharded.unmark(self.mark_channel(mark_of(pattern)))

    def _pattern_names(self, pattern: str) -> list[str]:
        """Return the patterns of Redis channels that are heard for one of groups."""
        kinds = ("", FOR_PATTERNS) if self.hears_sharded else ("",)
        return [f"{self._group_prefix}{kind}{pattern}" for kind in kinds]

    def mark_channel(self, mark: str) -> str:
        """Return the Redis channel that is heard where a mark is: see :func:`.mark_of`."""
        return f"{self.prefix}__mark__{mark}"

    def channel_of(self, group: str) -> str:
        """Return the Redis channel of a group."""
        return self._group_prefix + group

    def shard_of(self, group: str) -> int:
        """Return which Redis a group is on."""
        shard: int = _consistent_hash(self._group_prefix + group, len(self._hosts))
        return shard

    def client(self, shard: int) -> redis.Redis | ClusterClient:
        """Return the synchronous client of one Redis, which threads share."""
        if shard not in self._clients:
            self._clients[shard] = create_client(self._hosts[shard])
        return self._clients[shard]

    def open_links(self) -> LoopLayer:
        """Return what this event loop has, made when it is first asked for."""
        loop = asyncio.get_running_loop()
        links = self.links.get(loop)
        if links is None:
            links = self.links[loop] = LoopLayer(*self._args, **self._kwargs, channel_layer=self)
            _wrap_close(self, loop)
        return links

    _get_layer = open_links  # the inherited layer's name for it


class Reader:
    """
    Read histories for one channel layer.

    Args:
        layer: Knows the links to each Redis.
        prefix: Stands before the names of groups.
    """

    def __init__(self, layer: TopicLayer, prefix: str) -> None:
        self._layer = layer
        self._prefix = prefix

    async def read(self, group: str, history: History, count: int) -> Log:
        """
        Return the history of a group with so many of its newest entries.

        Raises:
            redis.RedisError: If Redis is away.
        """
        return self._log(await self._answer(group, history, count), history)

    async def positions(self, groups: Iterable[Kept]) -> list[Position | None]:
        """Return where the histories of groups stand; None where Redis, or one of them, is away."""
        answers = await asyncio.gather(
            *(self._answer(group, history, 0) for group, history in groups), return_exceptions=True
        )
        return [
            None if isinstance(answer, BaseException) else Position(answer[0].decode(), answer[1])
            for answer in answers
        ]

    def read_sync(self, group: str, history: History, count: int) -> Log:
        """
        Return what :meth:`read` does, from synchronous code.

        Raises:
            redis.RedisError: If Redis is away.
        """
        client = self._layer.client(self._layer.shard_of(group))
        (answer,) = execute_all(client, [self._call(group, history, count)], SCRIPTS)
        return self._log(answer, history)

    def _answer(self, group: str, history: History, count: int) -> asyncio.Future[list[Any]]:
        shard = self._layer.open_links().shards[self._layer.shard_of(group)]
        return shard.pipeline.submit(self._call(group, history, count))

    def _call(self, group: str, history: History, count: int) -> Call:
        wanted = str(min(count, history.size))
        return Call(READ, history_keys(self._prefix + group), (wanted, str(history.ttl * 1000)))

    def _log(self, answer: list[Any], history: History) -> Log:
        epoch, offset, ended, now, newest = answer
        position = Position(epoch.decode(), offset)
        log = Log(position, parse_ended(ended), history.size, history.ttl)
        clock = time.monotonic()
        for number, (entry_id, (_, data)) in enumerate(newest):
            milliseconds, _, entry_offset = entry_id.partition(b"-")
            if int(entry_offset) != offset - number:
                break  # what is older belongs to something that Redis has forgotten
            position = log.position.before(number)
            message = open_envelope(self._layer.deserialize(data), str(position))
            if message is None:
                break
            expires = clock + history.ttl - (int(now) - int(milliseconds)) / 1000
            log.entries.appendleft(Entry(position.offset, expires, message))
        return log
