"""The channel layer behind sentinels: real servers, whose primary goes away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from realtime.history.log import Lost
from realtime.layer.layer import TopicLayer
from realtime.redis import create_client, create_pool, without_password
from realtime.redis.hosts import decode_host
from realtime.redis.pipeline import Pipeline
from tests.kit.publishing import (
    KEPT,
    Listener,
    kept_since,
    published,
    submission,
    submit,
    submit_sync,
)
from tests.kit.valkeys import (
    NOTHING_KEPT,
    PASSWORD,
    PRIMARY,
    TIMEOUT,
    Server,
    Watched,
    closing,
    start_replica,
)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with closing(Watched(tmp_path)) as watched:
        yield watched


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """A primary and its replica, which nobody watches."""
    with (
        closing(Server(tmp_path, *NOTHING_KEPT)) as primary,
        closing(start_replica(tmp_path, primary)) as replica,
    ):
        yield primary, replica


async def test_after_a_failover_publishing_and_hearing_go_on_at_the_promoted_replica(
    watched: Watched,
) -> None:
    host = {
        "sentinels": [("127.0.0.1", each.port) for each in watched.sentinels],
        "master_name": PRIMARY,
        "password": PASSWORD,
        "sentinel_kwargs": {"password": "sentinels"},
    }
    layer = TopicLayer(hosts=[host], prefix="test")
    listener = Listener()
    await listener.listen(layer)
    first = await published(layer, 0)
    await listener.hears(0)
    watched.primary.kill()
    started = time.monotonic()
    with pytest.raises(redis.RedisError):
        await submit(layer, *submission(-1))
    with pytest.raises(redis.RedisError):
        await asyncio.to_thread(submit_sync, layer, [submission(-1)])
    assert time.monotonic() - started < 3
    await asyncio.to_thread(watched.wait_for_promotion)
    await listener.connects_again()
    second = await published(layer, 1)
    await asyncio.to_thread(submit_sync, layer, [submission(2)])
    promoted = ("127.0.0.1", str(watched.replica.port))
    await asyncio.to_thread(watched.primary.start, "--replicaof", *promoted)
    assert (await published(layer, 3)).offset == second.offset + 2
    await listener.hears(0, 1, 2, 3)
    log = await layer.reader.read("group", KEPT, 10)
    assert kept_since(log, first) == [1, 2, 3]
    await layer.flush()


async def test_a_primary_that_hangs_and_comes_back_is_left_by_all_links(watched: Watched) -> None:
    layer = TopicLayer(hosts=[watched.url], prefix="test")
    listener = Listener()
    await listener.listen(layer)
    await published(layer, 0)
    await asyncio.to_thread(submit_sync, layer, [submission(1)])
    watched.primary.stand_still()
    await asyncio.to_thread(watched.wait_for_promotion)
    watched.primary.go_on()  # it takes itself for the primary, for another 8 s and more
    started = time.monotonic()
    await listener.connects_again()
    position = await published(layer, 2)
    assert time.monotonic() - started < 6
    # A plain PUBLISH would be taken by anybody: who hears it is what counts.
    plain = submission(3)._replace(history=None)
    await asyncio.to_thread(submit_sync, layer, [plain])
    await submit(layer, *plain)
    await listener.hears(0, 1, 2, 3, 3)
    offset = watched.replica.client.hget("{test__group__group}:position", "offset")
    assert offset == b"%d" % position.offset
    await layer.flush()


async def test_what_a_lagging_replica_does_not_know_is_not_whole(watched: Watched) -> None:
    layer = TopicLayer(hosts=[watched.url], prefix="test")
    known = await published(layer, 0)
    assert watched.primary.client.wait(1, 1000 * TIMEOUT) == 1
    await asyncio.to_thread(cut_off, watched.primary, watched.replica)
    lost = await published(layer, 1)
    assert lost.epoch == known.epoch
    await asyncio.to_thread(watched.fail_over)
    after = await published(layer, 2)
    assert after.offset == lost.offset
    assert after.epoch != lost.epoch
    log = await layer.reader.read("group", KEPT, 10)
    assert kept_since(log, known) == [2]
    with pytest.raises(Lost, match="epoch"):
        log.since(lost)
    await layer.flush()


def cut_off(primary: Server, replica: Server) -> None:
    """End the replication, while both go on serving."""
    primary.client.execute_command("ACL", "SETUSER", "default", "-psync", "-sync")
    primary.client.client_kill_filter(_type="replica")
    deadline = time.monotonic() + TIMEOUT
    while replica.info("master_link_status") != "down":
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_a_server_that_has_become_a_replica_is_left(pair: tuple[Server, Server]) -> None:
    primary, replica = pair
    layer = TopicLayer(hosts=[primary.url], prefix="test")
    await published(layer, 0)
    pipeline = Pipeline(create_pool(primary.url))
    before = await pipeline.submit(("CLIENT", "ID"))
    primary.client.replicaof("127.0.0.1", replica.port)
    with pytest.raises(redis.ReadOnlyError):
        await pipeline.submit(("SET", "key", "value"))
    primary.client.replicaof("NO", "ONE")
    assert await pipeline.submit(("CLIENT", "ID")) != before
    await pipeline.aclose()
    await layer.flush()


def test_sentinels_are_named_in_the_url() -> None:
    url = "rediss+sentinel://me:a%20b@one:1,[::1]/name/3?sentinel_password=c&socket_timeout=7"
    assert decode_host(url) == {
        "sentinels": [("one", 1), ("::1", 26379)],
        "master_name": "name",
        "sentinel_kwargs": {"password": "c"},
        "username": "me",
        "password": "a b",
        "db": 3,
        "ssl": True,
        "socket_timeout": 7.0,
    }
    assert without_password(url) == (
        "rediss+sentinel://me:***@one:1,[::1]/name/3?sentinel_password=***&socket_timeout=7"
    )


@pytest.mark.parametrize("url", ["redis+sentinel://one:1", "redis+what://one", "http://one"])
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="//"):
        create_client(url)
