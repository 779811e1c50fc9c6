"""
The channel layer: channels_redis' pub/sub layer, made fit for many topics.

What it adds to :class:`channels_redis.pubsub.RedisPubSubChannelLayer`, whose contract it keeps:

* messages sent in one turn of the loop travel to Redis in one pipeline;
* ``group_add`` returns when Redis has confirmed the subscription: what is sent to the
  group from then on, by anybody, arrives;
* one task owns the subscribing connection; after any error it builds a new one with the
  wanted subscriptions, and a link that falls silent counts as an error;
* ``group_send_sync`` for views and commands, without an event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import redis
from asgiref.sync import async_to_sync
from channels_redis.pubsub import (
    RedisPubSubChannelLayer,
    RedisPubSubLoopLayer,
    RedisSingleShardConnection,
)
from channels_redis.utils import _consistent_hash, _wrap_close, decode_hosts
from channels_redis.utils import create_pool as create_sentinel_pool
from redis.asyncio import ConnectionPool

from .redis import Pipeline, create_client, create_pool
from .subscriber import Subscriber


class TopicLayer(RedisPubSubChannelLayer):
    """
    The channel layer of the gateway; see the module.

    Configured as channels_redis' own: ``hosts`` (URLs, or dicts with ``address`` or
    ``sentinels`` and options of the connection) and ``prefix``.
    """

    def __init__(self, hosts: list[Any] | None = None, prefix: str = "asgi", **options: Any):
        super().__init__(hosts=hosts, prefix=prefix, **options)
        self._hosts = decode_hosts(hosts)
        self._group_channel_prefix = f"{prefix}__group__"
        self._clients: dict[int, redis.Redis] = {}

    def group_send_sync(self, group: str, message: dict[str, Any]) -> None:
        """
        Send to a group from synchronous code, on a connection that threads share.

        Raises:
            redis.RedisError: If Redis did not take the message.
        """
        self.group_send_many_sync([(group, message)])

    def group_send_many_sync(self, pairs: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """
        Send messages to groups, in their order and one round trip to each Redis.

        Raises:
            redis.RedisError: If Redis did not take all of them; it may have taken some.
        """
        if not all("address" in host for host in self._hosts):  # Sentinels know where
            async_to_sync(self._group_send_many)(pairs)
            return
        commands: dict[int, list[tuple[bytes, ...]]] = {}
        for group, message in pairs:
            channel = self._group_channel_prefix + group
            shard = _consistent_hash(channel, len(self._hosts))
            command = (b"PUBLISH", channel.encode(), self.serialize(message))
            commands.setdefault(shard, []).append(command)
        for shard, to_send in commands.items():
            _execute_all(self._client(shard), to_send)

    async def _group_send_many(self, pairs: Iterable[tuple[str, dict[str, Any]]]) -> None:
        await asyncio.gather(*(self.group_send(group, message) for group, message in pairs))

    def _client(self, shard: int) -> redis.Redis:
        if shard not in self._clients:
            options = dict(self._hosts[shard])
            self._clients[shard] = create_client(options.pop("address"), **options)
        return self._clients[shard]

    def _get_layer(self) -> _LoopLayer:
        loop = asyncio.get_running_loop()
        layer = self._layers.get(loop)
        if layer is None:
            layer = self._layers[loop] = _LoopLayer(*self._args, **self._kwargs, channel_layer=self)
            _wrap_close(self, loop)
        return layer


class _LoopLayer(RedisPubSubLoopLayer):
    """The layer of one event loop; everything but the links to Redis is inherited."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shards = [_Shard(host, self) for host in decode_hosts(kwargs.get("hosts"))]

    async def _subscribe_to_channel(self, channel: str) -> None:
        try:
            await super()._subscribe_to_channel(channel)
        except BaseException:
            del self.channels[channel]
            raise


class _Shard(RedisSingleShardConnection):
    """The links to one Redis: a pipeline to publish with, and one :class:`.Subscriber`."""

    def __init__(self, host: dict[str, Any], channel_layer: RedisPubSubLoopLayer) -> None:
        self.host = host
        self.channel_layer = channel_layer
        self._open()

    def _open(self) -> None:
        pool = _pool_of(self.host)
        self._pipeline = Pipeline(pool)
        self._subscriber = Subscriber(pool, self._receive)

    def _receive(self, channel: bytes, data: bytes) -> None:
        self._receive_message({"channel": channel, "data": data})

    async def publish(self, channel: str, message: bytes) -> None:
        await self._pipeline.submit("PUBLISH", channel, message)

    async def subscribe(self, channel: str) -> None:
        await self._subscriber.subscribe(channel)

    async def unsubscribe(self, channel: str) -> None:
        self._subscriber.unsubscribe(channel)

    async def flush(self) -> None:
        await self._subscriber.aclose()
        await self._pipeline.aclose()
        self._open()


def _execute_all(client: redis.Redis, commands: list[tuple[bytes, ...]]) -> list[Any]:
    """
    Return the answers to commands that travel in one round trip, and are never sent twice.

    redis-py's own pipeline (8.1) needs several times the processor time of the rest.
    """
    connection = client.connection_pool.get_connection()
    try:
        connection.send_packed_command([b"".join(_pack(command) for command in commands)])
        return [connection.read_response() for _ in commands]
    except BaseException:
        connection.disconnect()  # what was not read is no answer to the next caller
        raise
    finally:
        client.connection_pool.release(connection)


def _pack(command: tuple[bytes, ...]) -> bytes:
    parts = [b"$%d\r\n%b\r\n" % (len(part), part) for part in command]
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def _pool_of(host: dict[str, Any]) -> ConnectionPool:
    if "address" in host:
        options = dict(host)
        return create_pool(options.pop("address"), **options)
    return create_sentinel_pool(host | {"protocol": 2})
