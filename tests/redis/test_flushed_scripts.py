"""A neighbour flushes the scripts of Redis: nobody notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import NoScriptError

from realtime.layer.layer import TopicLayer
from realtime.redis import Call, Script, create_client, create_pool, execute_all, open_pipeline
from tests.kit.publishing import KEPT, Listener, submission, submit, submit_sync
from tests.kit.valkeys import (
    NOTHING_KEPT,
    PASSWORD,
    Cluster,
    Server,
    closing,
    start_replica,
)

APPEND = Script("return redis.call('RPUSH', KEYS[1], ARGV[2])")
ADD = Script("return redis.call('INCRBY', KEYS[1], ARGV[2])")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with closing(Server(tmp_path, *NOTHING_KEPT)) as server:
        yield server


@pytest.fixture(params=[0, 1])
async def layer(
    request: pytest.FixtureRequest, server: Server, tmp_path: Path
) -> AsyncIterator[TopicLayer]:
    """A layer that waits for so many replicas."""
    layer = TopicLayer(hosts=[server.url], prefix="test", replicas=request.param)
    with closing(start_replica(tmp_path / "replica", server)):
        yield layer
        await layer.flush()


async def test_what_is_published_is_taken_and_heard_once_and_in_order(
    layer: TopicLayer, server: Server
) -> None:
    listener = Listener()
    await listener.listen(layer)
    for start in range(0, 400, 40):
        flushing = asyncio.to_thread(server.client.script_flush)
        publishing = []
        for number in range(start, start + 40):
            publishing.append(submit(layer, *submission(number)))
            if number % 10 == 0:
                await asyncio.sleep(0)  # several calls are on their way at once
        await asyncio.gather(*publishing, flushing)
    await listener.hears(*range(400))
    server.client.script_flush()
    assert (await layer.reader.read("group", KEPT, 1)).position.offset == 400


async def test_so_it_is_from_synchronous_code(layer: TopicLayer, server: Server) -> None:
    listener = Listener()
    await listener.listen(layer)
    for start in range(0, 30, 3):
        several = [submission(number, "group") for number in range(start, start + 3)]
        await asyncio.to_thread(submit_sync, layer, several)
        server.client.script_flush()
    await listener.hears(*range(30))


async def test_what_is_called_between_other_commands_is_called_once(server: Server) -> None:
    pool = create_pool(server.url)
    pipeline, client = open_pipeline(pool, [ADD]), create_client(server.url)
    commands = [("ECHO", "before"), Call(ADD, ("sum",), ("1",)), ("ECHO", "after")]
    for number in range(1, 20, 2):
        server.client.script_flush()
        assert await pipeline.submit_all(commands) == [b"before", number, b"after"]
        server.client.script_flush()
        answers = await asyncio.to_thread(execute_all, client, commands, [ADD])
        assert answers == [b"before", number + 1, b"after"]
    await pipeline.aclose()
    await pool.aclose()


async def test_on_a_cluster_too(tmp_path: Path) -> None:
    with closing(Cluster(tmp_path)) as cluster:
        layer = TopicLayer(hosts=[cluster.url], prefix="test")
        groups = [f"group{number}" for number in range(10)]
        for round in range(1, 4):
            for each in cluster.servers:
                each.client.script_flush()
            await asyncio.gather(*(submit(layer, *submission(round, name)) for name in groups))
            for name in groups:
                assert (await layer.reader.read(name, KEPT, 1)).position.offset == 2 * round - 1
            for each in cluster.servers:
                each.client.script_flush()
            several = [submission(round, name) for name in groups]
            await asyncio.to_thread(submit_sync, layer, several)
        await layer.flush()


async def test_who_may_not_send_scripts_is_told_which_right_is_missing(server: Server) -> None:
    rights = ("on", f">{PASSWORD}", "~*", "&*", "+@all", "-eval")
    server.client.execute_command("ACL", "SETUSER", "some", *rights)
    host = {"address": server.url, "username": "some", "password": PASSWORD}
    pool = create_pool(host)
    pipeline = open_pipeline(pool, [ADD])
    assert await pipeline.submit(Call(ADD, ("sum",), ("1",))) == 1
    server.client.script_flush()
    with pytest.raises(Exception, match="'eval'"):
        await pipeline.submit(Call(ADD, ("sum",), ("1",)))
    await pipeline.aclose()
    await pool.aclose()


async def test_what_comes_while_calls_are_sent_again_runs_after_them(server: Server) -> None:
    pool, late = create_pool(server.url), list[asyncio.Future[object]]()
    pipeline: Any = open_pipeline(pool, [APPEND])
    answered = pipeline._answered

    def append(value: str) -> asyncio.Future[object]:
        return pipeline.submit(Call(APPEND, ("list",), (value,)))

    def answered_and_then(answer: object) -> None:
        answered(answer)
        if isinstance(answer, NoScriptError) and not late:
            late.append(append("c"))
            pipeline._send()

    pipeline._answered = answered_and_then
    await pipeline.submit(("PING",))
    server.client.script_flush()
    await asyncio.gather(append("a"), append("b"))
    await asyncio.gather(*late)
    assert server.client.lrange("list", 0, -1) == [b"a", b"b", b"c"]
    await pipeline.aclose()
