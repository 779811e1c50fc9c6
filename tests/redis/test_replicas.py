"""A publish that counts only when replicas have it: real servers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from realtime.layer.layer import TopicLayer
from realtime.redis import create_pool
from realtime.redis.pipeline import Pipeline
from realtime.redis.replicas import WAIT_MS, NotReplicated
from tests.kit.publishing import KEPT, submission, submit, submit_sync
from tests.kit.valkeys import NOTHING_KEPT, Server, closing, start_replica


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Server]:
    with closing(Server(tmp_path, *NOTHING_KEPT)) as primary:
        yield primary


@pytest.fixture
def replica(tmp_path: Path, primary: Server) -> Iterator[Server]:
    with closing(start_replica(tmp_path, primary)) as replica:
        yield replica


async def test_what_was_acknowledged_is_there_after_a_failover(
    primary: Server, replica: Server
) -> None:
    layer = TopicLayer(hosts=[primary.url], prefix="test", replicas=1)
    acknowledged: list[int] = []
    publishing = asyncio.create_task(publish_many(layer, acknowledged))
    while len(acknowledged) < 500:
        await asyncio.sleep(0.01)
    primary.kill()
    await publishing
    replica.client.replicaof("NO", "ONE")
    kept = TopicLayer(hosts=[replica.url], prefix="test")
    log = await kept.reader.read("group", KEPT, KEPT.size)
    assert log.position.offset >= len(acknowledged) >= 500
    newest = [int(each.message.body) for each in log.entries]
    assert {number for number in acknowledged if number >= newest[0]} <= set(newest)
    await layer.flush()
    await kept.flush()


async def publish_many(layer: TopicLayer, acknowledged: list[int]) -> None:
    """Publish, several at a time, until Redis goes away; some by synchronous code."""
    number = 0
    with contextlib.suppress(redis.RedisError):
        while True:
            await asyncio.to_thread(submit_sync, layer, [submission(number)])
            acknowledged.append(number)
            several = [submit(layer, *submission(number + n)) for n in range(1, 20)]
            for n, each in enumerate(await asyncio.gather(*several, return_exceptions=True)):
                if not isinstance(each, BaseException):
                    acknowledged.append(number + n + 1)
            number += 20


async def test_while_the_replica_is_away_nothing_counts_as_published_but_history_is_read(
    primary: Server, replica: Server
) -> None:
    layer = TopicLayer(hosts=[primary.url], prefix="test", replicas=1)
    message = submission(0)._replace(once="key")
    answer = await submit(layer, *message)
    replica.stand_still()
    limit = 3 * WAIT_MS / 1000
    started = time.monotonic()
    sent = [submit(layer, *submission(1)) for _ in range(3)]
    await asyncio.sleep(0.1)
    sent += [submit(layer, *submission(2)) for _ in range(3)]  # together, not one after another
    for each in sent:
        with pytest.raises(NotReplicated, match="0 of 1 replicas have it"):
            await each
    with pytest.raises(NotReplicated):
        await asyncio.to_thread(submit_sync, layer, [submission(3)])
    assert time.monotonic() - started < limit + 2
    log = await layer.reader.read("group", KEPT, 10)
    assert log.position.offset == 8  # the primary has taken all
    with_key = submission(4)._replace(once="another key")
    with pytest.raises(NotReplicated):
        await asyncio.to_thread(submit_sync, layer, [with_key])
    with pytest.raises(NotReplicated):
        await submit(layer, *with_key)  # still there only
    replica.go_on()
    (again,) = await submit(layer, *with_key)
    assert again.endswith(b"-9")
    assert await submit(layer, *message) == answer
    await layer.flush()


async def test_an_error_of_one_command_is_not_that_of_the_batch_and_a_lost_link_is_all_theirs(
    primary: Server, replica: Server
) -> None:
    pool = create_pool(primary.url)
    pipeline = Pipeline(pool)
    wrong = pipeline.submit(("SET", "too few"), replicas=1)
    right = pipeline.submit(("SET", "key", "value"), replicas=1)
    free = pipeline.submit(("GET", "key"))
    with pytest.raises(redis.ResponseError, match="wrong number"):
        await wrong
    assert (await right, await free) == (b"OK", b"value")
    replica.stand_still()
    waiting = [pipeline.submit(("SET", "key", "value"), replicas=1) for _ in range(2)]
    await asyncio.sleep(0.1)
    waiting.append(pipeline.submit(("SET", "key", "value"), replicas=1))
    primary.kill()
    for each in waiting:
        with pytest.raises(redis.ConnectionError):
            await each
    await pipeline.aclose()


async def test_without_replicas_no_wait_is_sent(primary: Server) -> None:
    layer = TopicLayer(hosts=[primary.url], prefix="test")
    await submit(layer, *submission(0))
    await asyncio.to_thread(submit_sync, layer, [submission(1)])
    assert "cmdstat_wait" not in primary.client.info("commandstats")
    await layer.flush()
