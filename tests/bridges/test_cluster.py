"""Bridges on a cluster: each stream is on one node, leases and topics on others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings

from notifications.bridges import from_channel, from_stream
from notifications.bridges.routes import IncomingRoute
from notifications.bridges.runner import run_bridges
from notifications.bridges.store import key_of
from realtime.destinations.groups import group_name
from realtime.layer.pages import read_page
from realtime.layer.scripts import history_keys
from realtime.redis import create_client, execute_all
from tests.kit.bridging import eventually, new_name, published
from tests.kit.valkeys import Cluster, closing


@pytest.fixture
def cluster(tmp_path: Path, settings: Any) -> Iterator[Cluster]:
    with closing(Cluster(tmp_path)) as cluster:
        settings.REDIS_URL = cluster.url
        layer = settings.CHANNEL_LAYERS["default"]
        config = {**layer["CONFIG"], "hosts": [cluster.url]}
        settings.CHANNEL_LAYERS = {"default": {**layer, "CONFIG": config}}
        yield cluster


def stream_on(cluster: Cluster, number: int, topic: str) -> IncomingRoute:
    """Return the route of a stream that is on a node."""
    return from_stream(name_on(cluster, number, str), to=topic)


def name_on(cluster: Cluster, number: int, key: Callable[[str], str]) -> str:
    """Return a name whose key is on a node."""
    names = (new_name("cluster") for _ in range(1000))
    owner = cluster.primaries[number]
    return next(name for name in names if cluster.owner(key(name)) is owner)


def position_key(name: str) -> str:
    """Return where the position of /topic/NAME is."""
    prefix = settings.CHANNEL_LAYERS["default"]["CONFIG"]["prefix"]
    return history_keys(f"{prefix}__group__{group_name(f'/topic/{name}')}")[0]


async def test_streams_on_every_node_and_a_channel_are_carried(cluster: Cluster) -> None:
    topic = f"/topic/{new_name('cluster')}"
    streams = [stream_on(cluster, number, f"{topic}/{number}") for number in range(3)]
    channel = from_channel(new_name("cluster"), to=f"{topic}/channel")
    client = create_client(cluster.url)
    task = asyncio.create_task(run_bridges([*streams, channel]))

    def ask(*commands: tuple[str, ...]) -> list[Any]:
        return execute_all(client, commands)

    def heard() -> bool:
        return any(each.client.pubsub_numsub(channel.source)[0][1] for each in cluster.servers)

    for route in streams:
        for number in range(200):
            ask(("XADD", route.source, "*", "message", f"{number}"))
        ask(("XADD", route.source, "*", "no", "message"))
    await eventually(heard)
    ask(("PUBLISH", channel.source, '"hello"'))
    for number in range(3):
        expected = [b"%d" % each for each in range(100, 200)]
        await eventually(lambda number=number: ends_with(f"{topic}/{number}", b"199"))
        assert await published(f"{topic}/{number}", 100) == expected
    assert await published(f"{topic}/channel", 1) == [b"hello"]
    for route in streams:
        letters = ("XLEN", key_of(route.id, "dead-letters"))
        await eventually(lambda letters=letters: ask(letters) == [1])
        pending = ("XPENDING", route.source, route.group)
        await eventually(lambda pending=pending: ask(pending)[0][0] == 0)
    task.cancel()
    await asyncio.wait([task])
    assert ask(*(("GET", key_of(route.id, "lease")) for route in streams)) == [None] * 3


def ends_with(topic: str, body: bytes) -> bool:
    messages = read_page(topic).messages
    return bool(messages) and messages[-1].body == body


async def test_a_stream_whose_node_fails_over_goes_on(cluster: Cluster) -> None:
    topic = f"/topic/{name_on(cluster, 0, position_key)}"  # it fails over with the stream
    route = stream_on(cluster, 0, topic)
    task = asyncio.create_task(run_bridges([route]))
    client = create_client(cluster.url)

    def add(body: str) -> bool:
        try:
            return bool(execute_all(client, [("XADD", route.source, "*", "message", body)]))
        except redis.RedisError:
            return False

    def was_read(body: str) -> bool:
        try:
            return ends_with(topic, body.encode())
        except redis.RedisError:  # who reads from the node that died is told so, and asks again
            return False

    assert add("before")
    assert await published(topic, 1) == [b"before"]
    await asyncio.to_thread(cluster.fail_over)
    await eventually(lambda: add("after"))
    await eventually(lambda: was_read("after"))
    assert (await published(topic, 2))[1] == b"after"
    task.cancel()
    await asyncio.wait([task])
