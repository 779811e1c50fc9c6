"""One address leads to a new primary: the old links, which stay, are left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from realtime.layer.layer import TopicLayer
from realtime.redis import create_client, create_pool, execute_all, open_pipeline
from realtime.redis.replicas import ROLE_SECONDS, check_role
from tests.kit.publishing import Listener, submission, submit, submit_sync
from tests.kit.valkeys import (
    TIMEOUT,
    Switched,
    closing,
    wait_until,
)


@pytest.fixture
async def switched(tmp_path: Path) -> AsyncIterator[Switched]:
    with closing(Switched(tmp_path)) as switched:
        yield switched


@pytest.fixture
async def layer(switched: Switched) -> AsyncIterator[TopicLayer]:
    layer = TopicLayer(hosts=[switched.address.url], prefix="test")
    yield layer
    await layer.flush()


async def errors(attempt: Callable[[], Awaitable[Any]]) -> int:
    """Return how often an attempt fails before it succeeds."""
    for number in range(10):
        try:
            await attempt()
        except redis.RedisError:
            continue
        return number
    return 10


def plain(number: int) -> Any:
    return submission(number)._replace(history=None)


async def test_each_door_has_one_error_at_most_and_all_hear_what_comes_after_it(
    switched: Switched, layer: TopicLayer
) -> None:
    def by_threads(*numbers: int) -> Awaitable[Any]:
        each = [asyncio.to_thread(submit_sync, layer, [submission(number)]) for number in numbers]
        return asyncio.gather(*each)

    listener = Listener()
    await listener.listen(layer)
    await submit(layer, *submission(0))
    await by_threads(0, 0, 0, 0, 0)  # several connections
    await asyncio.to_thread(switched.switch)
    assert await errors(lambda: submit(layer, *submission(1))) <= 1
    assert await errors(lambda: by_threads(1)) <= 1
    for number in range(2, 8):
        await submit(layer, *submission(number))
        await by_threads(*[number] * 5)
    await asyncio.to_thread(wait_until, lambda: switched.links(switched.primary) <= {"client"})
    await listener.connects_again()
    await submit(layer, *submission(8))
    async with asyncio.timeout(TIMEOUT):
        while 8 not in listener.got:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("door", [submit, submit_sync])
async def test_what_is_not_kept_does_not_vanish_at_the_replica(
    switched: Switched, layer: TopicLayer, door: Callable[..., Any]
) -> None:
    async def publish(number: int) -> None:
        if door is submit:
            await submit(layer, *plain(number))
        else:
            await asyncio.to_thread(submit_sync, layer, [plain(number)])

    await publish(0)
    elsewhere = TopicLayer(hosts=[switched.replica.url], prefix="test")
    listener = Listener()
    await listener.listen(elsewhere)
    await asyncio.to_thread(switched.switch)
    await asyncio.sleep(ROLE_SECONDS)
    assert await errors(lambda: publish(1)) == 1
    await listener.hears(1)
    await elsewhere.flush()


async def test_who_only_hears_is_told_by_others_of_this_process(switched: Switched) -> None:
    hearing = TopicLayer(hosts=[switched.address.url], prefix="test")
    listener = Listener()
    await listener.listen(hearing)
    client = create_client(switched.address.url)
    assert execute_all(client, [("SET", "key", "1")]) == [b"OK"]
    await asyncio.to_thread(switched.switch)
    assert switched.links(switched.primary) == {"subscriber", "client"}
    with pytest.raises(redis.ReadOnlyError):
        execute_all(client, [("SET", "key", "2")])
    await listener.connects_again()
    assert switched.links(switched.replica) == {"subscriber"}
    assert execute_all(client, [("SET", "key", "2")]) == [b"OK"]
    client.close()  # type: ignore[union-attr]
    await hearing.flush()


async def test_so_it_is_with_replicas_that_are_waited_for(switched: Switched) -> None:
    layer = TopicLayer(hosts=[switched.address.url], prefix="test", replicas=1)
    await submit(layer, *submission(0))
    await asyncio.to_thread(submit_sync, layer, [submission(0)])
    await asyncio.to_thread(switched.switch)
    assert await errors(lambda: submit(layer, *submission(1))) <= 1
    assert await errors(lambda: asyncio.to_thread(submit_sync, layer, [submission(1)])) <= 1
    await layer.flush()


async def test_who_may_not_ask_for_the_role_works_without(switched: Switched) -> None:
    rights = ("on", ">word", "~*", "&*", "+@all", "-hello")
    switched.primary.client.execute_command("ACL", "SETUSER", "some", *rights)
    host = {"address": switched.address.url, "username": "some", "password": "word"}
    pool = create_pool(host)
    pipeline, client = open_pipeline(pool), create_client(host)
    assert await pipeline.submit(("ECHO", "a")) == b"a"
    assert execute_all(client, [("ECHO", "b")]) == [b"b"]
    await pipeline.aclose()
    await pool.aclose()
    client.close()  # type: ignore[union-attr]


@pytest.mark.parametrize("role", [b"replica", b"slave"])
def test_a_replica_is_known_by_what_it_says(role: bytes) -> None:
    check_role([b"server", b"redis", b"role", b"master"])
    check_role(redis.ResponseError("unknown command 'HELLO'"))
    with pytest.raises(redis.ReadOnlyError):
        check_role([b"server", b"redis", b"role", role])
