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
* ``submit_many_sync`` and ``read_history_sync`` for views and commands, without an event loop;
* the extension "history" (see :mod:`realtime.history.log`): messages that are kept, with positions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import redis
from channels_redis.pubsub import RedisPubSubChannelLayer
from channels_redis.utils import _consistent_hash, _wrap_close, decode_hosts

from realtime.history.log import Entry, Log, parse_ended
from realtime.history.positions import Position
from realtime.messages.envelope import FORMAT
from realtime.messages.message import open_envelope
from realtime.redis import Call, Command, create_client, execute_all
from realtime.redis.cluster import ClusterClient
from realtime.routes.topics import History

from .fence import Fence
from .loop import LoopLayer, Sink
from .publishing import Publications, Submission
from .scripts import READ, SCRIPTS, history_keys


class TopicLayer(RedisPubSubChannelLayer):
    """
    The channel layer of the gateway; see the module.

    Configured as channels_redis' own: ``hosts`` (URLs, or dicts with ``address`` or
    ``sentinels`` and options of the connection; those of :mod:`realtime.redis.hosts`), ``prefix``,
    ``capacity``, the number of messages that may wait in one channel, and ``replicas``, the number
    of replicas that have to have a message to a group before it counts as taken.
    """

    def __init__(
        self,
        hosts: list[Any] | None = None,
        prefix: str = "asgi",
        capacity: int = 1000,
        replicas: int = 0,
        **options: Any,
    ):
        super().__init__(hosts=hosts, prefix=prefix, **{"serializer_format": FORMAT, **options})
        self.capacity = capacity
        self.replicas = replicas
        self._hosts = decode_hosts(hosts)
        self._group_channel_prefix = f"{prefix}__group__"
        self._clients: dict[int, redis.Redis | ClusterClient] = {}
        self._publications = Publications(self._group_channel_prefix, self.serialize)

    def submit(
        self,
        group: str,
        messages: Sequence[dict[str, Any]],
        history: History | None = None,
        once: str | None = None,
        fence: Fence | None = None,
    ) -> asyncio.Future[Any]:
        """
        Send to a group as ``group_send`` does, in the order of the calls; the future ends when
        Redis took all of the messages, or with one of :data:`.REDIS_ERRORS`.

        With ``history`` the messages are kept, and the answer is a list of their positions, as
        bytes. With ``once`` it is one message, and its position what it was the first time, if
        that key was used lately. With ``fence`` those are empty whose entries had been published,
        or :data:`.TOO_EARLY`, and :class:`.Fenced` may be raised. They are
        :data:`.MAX_JOINED` messages at most.
        """
        submission = Submission(group, messages, history, once, fence)
        pipeline = self._get_layer().shards[self._shard_of(group)].pipeline
        *others, last = self._publications.commands(submission)
        for command in others:
            pipeline.submit(command)
        return pipeline.submit(last, replicas=self.replicas)

    def submit_many(self, submissions: Sequence[Submission]) -> asyncio.Future[list[Any]]:
        """
        Send, at least once, as :meth:`submit` does; the future gets the list of answers, where
        that of what failed is its error.
        """
        commands, places = self._by_shard(submissions)
        shards = self._get_layer().shards
        answers = {
            shard: shards[shard].pipeline.submit_all(of_shard, replicas=self.replicas)
            for shard, of_shard in commands.items()
        }
        shard, last = places[-1]
        if len(answers) == 1 and last == len(submissions) - 1:
            return answers[shard]  # all in one, one command each
        return asyncio.ensure_future(_in_places(answers, places))

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self.room()
        await self.submit(group, [message])

    async def check(self) -> None:
        """
        Return if each Redis answers, and what is published there is heard here.

        Raises:
            redis.RedisError: If not.
        """
        shards = self._get_layer().shards
        if any(shard.subscriber.lost for shard in shards):
            raise redis.ConnectionError("the subscriptions are lost")
        await asyncio.gather(*(each.pipeline.submit(("EXISTS", self.prefix)) for each in shards))

    def busy(self) -> bool:
        """Return whether :meth:`room` would wait."""
        for shard in self._get_layer().shards:
            if shard.pipeline.full or shard.subscriber.behind:
                return True
        return False

    async def room(self) -> None:
        """
        Return when more may be sent: too much on its way to Redis would pile up here, and more
        than this process can hear would pile up there.
        """
        for shard in self._get_layer().shards:
            await shard.pipeline.room()
            await shard.subscriber.caught_up()

    def submit_many_sync(self, submissions: Iterable[Submission]) -> list[Any]:
        """
        Send as :meth:`submit_many` does, from synchronous code, in one round trip to each Redis,
        on connections that threads share; return the answers.

        Raises:
            redis.RedisError: If Redis did not take all of them.
        """
        commands, places = self._by_shard(submissions)
        answers = {
            shard: execute_all(self._client(shard), of_shard, SCRIPTS, self.replicas)
            for shard, of_shard in commands.items()
        }
        return [answers[shard][place] for shard, place in places]

    def _by_shard(
        self, submissions: Iterable[Submission]
    ) -> tuple[dict[int, list[Command]], list[tuple[int, int]]]:
        """Return each Redis' commands, and which and where the one is whose answer counts."""
        commands: dict[int, list[Command]] = {}
        places = []
        for submission in submissions:
            shard = self._shard_of(submission.group)
            of_shard = commands.setdefault(shard, [])
            of_shard += self._publications.commands(submission)
            places.append((shard, len(of_shard) - 1))
        return commands, places

    def _shard_of(self, group: str) -> int:
        """Return which Redis a group is on."""
        shard: int = _consistent_hash(self._group_channel_prefix + group, len(self._hosts))
        return shard

    async def read_history(self, groups: Iterable[tuple[str, History]], count: int) -> list[Log]:
        """
        Return the histories of groups, each with so many of its newest entries, in one round trip.

        Raises:
            redis.RedisError: If Redis is away.
        """
        asked = list(groups)
        read = await asyncio.gather(*self._read(asked, count))
        return [
            self._log(answer, history) for answer, (_, history) in zip(read, asked, strict=True)
        ]

    async def read_positions(self, groups: Iterable[tuple[str, History]]) -> list[Position | None]:
        """Return where the histories of groups stand; None where Redis, or one of them, is away."""
        answers = await asyncio.gather(*self._read(list(groups), 0), return_exceptions=True)
        return [
            None if isinstance(answer, BaseException) else Position(answer[0].decode(), answer[1])
            for answer in answers
        ]

    def _read(
        self, groups: list[tuple[str, History]], count: int
    ) -> list[asyncio.Future[list[Any]]]:
        layer = self._get_layer()
        answers = []
        for group, history in groups:
            pipeline = layer.shards[self._shard_of(group)].pipeline
            answers.append(pipeline.submit(self._reading(group, history, count)))
        return answers

    def read_history_sync(self, group: str, history: History, count: int) -> Log:
        """
        Return the history of one group as :meth:`read_history` does, from synchronous code.

        Raises:
            redis.RedisError: If Redis is away.
        """
        call = self._reading(group, history, count)
        (answer,) = execute_all(self._client(self._shard_of(group)), [call], SCRIPTS)
        return self._log(answer, history)

    def _reading(self, group: str, history: History, count: int) -> Call:
        channel = self._group_channel_prefix + group
        wanted = str(min(count, history.size))
        return Call(READ, history_keys(channel), (wanted, str(history.ttl * 1000)))

    def _log(self, answer: list[Any], history: History) -> Log:
        epoch, offset, ended, now, newest = answer
        log = Log(Position(epoch.decode(), offset), parse_ended(ended), history.size, history.ttl)
        clock = time.monotonic()
        for number, (entry_id, (_, data)) in enumerate(newest):
            milliseconds, _, entry_offset = entry_id.partition(b"-")
            if int(entry_offset) != offset - number:
                break  # what is older belongs to something that Redis has forgotten
            expires = clock + history.ttl - (int(now) - int(milliseconds)) / 1000
            position = log.position.before(number)
            message = open_envelope(self.deserialize(data), str(position))
            if message is None:
                break
            log.entries.appendleft(Entry(position.offset, expires, message))
        return log

    async def listen(self, sink: Sink, renewed: Callable[[], None] = lambda: None) -> str:
        """
        Return a new channel whose messages go to a function at once, in order, those that came
        as one together: no queue, so nothing can overflow. It must not raise.

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

    def _client(self, shard: int) -> redis.Redis | ClusterClient:
        if shard not in self._clients:
            self._clients[shard] = create_client(self._hosts[shard])
        return self._clients[shard]

    def _get_layer(self) -> LoopLayer:
        loop = asyncio.get_running_loop()
        layer = self._layers.get(loop)
        if layer is None:
            layer = self._layers[loop] = LoopLayer(*self._args, **self._kwargs, channel_layer=self)
            _wrap_close(self, loop)
        return layer


async def _in_places(
    answers: Mapping[int, Awaitable[list[Any]]], places: Sequence[tuple[int, int]]
) -> list[Any]:
    """Return the answers at places in the lists of several Redis; one may fail as a whole."""
    given = await asyncio.gather(*answers.values(), return_exceptions=True)
    lists = dict(zip(answers, given, strict=True))
    return [
        found if isinstance(found := lists[shard], BaseException) else found[place]
        for shard, place in places
    ]
