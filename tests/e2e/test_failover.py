"""The gateway while servers of Redis die: sentinels, a cluster, replicas that are waited for."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime.destinations.groups import group_name
from tests.kit.clients import StompClient
from tests.kit.processes import Gateway, Process, procfile
from tests.kit.valkeys import (
    NOTHING_KEPT,
    TIMEOUT,
    Cluster,
    Server,
    Switched,
    Watched,
    closing,
    start_replica,
    wait_until,
)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with closing(Watched(tmp_path)) as watched:
        yield watched


@pytest.fixture
def switched(tmp_path: Path) -> Iterator[Switched]:
    with closing(Switched(tmp_path)) as switched:
        yield switched


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with closing(Cluster(tmp_path)) as cluster:
        yield cluster


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Server]:
    with closing(Server(tmp_path, *NOTHING_KEPT)) as primary:
        yield primary


def post(gateway: Gateway, topic: str, message: str) -> int:
    content = json.dumps({"topic": topic, "message": message}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{gateway.url}/api/notification", content, headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


async def post_until_taken(gateway: Gateway, topic: str, message: str) -> None:
    async with asyncio.timeout(TIMEOUT):
        while await asyncio.to_thread(post, gateway, topic, message) != 202:
            await asyncio.sleep(0.1)


async def expect_error(gateway: Gateway, topic: str) -> None:
    """See that both ways in say at once that a message was not taken."""
    started = time.monotonic()
    assert await asyncio.to_thread(post, gateway, topic, "lost") == 503
    async with StompClient(gateway.stomp) as sender:
        await sender.send("SEND", {"destination": topic, "receipt": "r"}, b"lost")
        error = await sender.frame("ERROR")
        assert (error.headers["code"], error.headers["receipt-id"]) == ("unavailable", "r")
    assert time.monotonic() - started < 8


async def resume(gateway: Gateway, topic: str, position: str, bodies: list[bytes]) -> None:
    async with StompClient(gateway.stomp) as client:
        headers = {"destination": topic, "id": "0", "receipt": "r", "last-message-id": position}
        await client.send("SUBSCRIBE", headers)
        receipt = await client.frame("RECEIPT")
        assert receipt.headers["recovered"] == "true"
        assert [(await client.message()).body for _ in bodies] == bodies


async def test_behind_sentinels_the_promoted_replica_serves_on(
    variables: dict[str, str], watched: Watched, tmp_path: Path
) -> None:
    mine = {**variables, "REDIS_URL": watched.url}
    log = tmp_path / "bridge"
    with Gateway(tmp_path / "log", **mine) as gateway, Process(procfile("bridge"), log, **mine):
        async with StompClient(gateway.stomp) as client:
            await client.subscribe("/topic/toast")
            await client.subscribe("/topic/greetings", id="1")
            await post_until_taken(gateway, "/topic/toast", "one")
            position = (await client.message()).headers["message-id"]
            assert watched.primary.client.wait(1, 1000 * TIMEOUT) == 1
            watched.primary.kill()
            await expect_error(gateway, "/topic/toast")
            await asyncio.to_thread(watched.wait_for_promotion)
            await asyncio.to_thread(wait_until_heard, watched.replica)
            await post_until_taken(gateway, "/topic/toast", "two")
            assert (await client.message()).body == b"two"
            service = watched.replica.client
            assert service.publish("GREETING_CHANNEL_INBOUND", b'"three"') == 1
            assert (await client.message()).body == b"three"
        await resume(gateway, "/topic/toast", position, [b"two"])


def wait_until_heard(server: Server) -> None:
    """Return when gateway and bridge hear all that they heard before."""
    channels = ("gateway__group__stomp.topic.toast", "GREETING_CHANNEL_INBOUND")
    wait_until(lambda: all(count for _, count in server.client.pubsub_numsub(*channels)))


async def test_an_address_that_leads_to_a_new_primary_costs_each_door_one_error_at_most(
    variables: dict[str, str],
    people: dict[str, dict[str, str]],
    switched: Switched,
    tmp_path: Path,
) -> None:
    mine = {**variables, "REDIS_URL": switched.address.url}
    log = tmp_path / "bridge"
    heard = ("/topic/toast", "/topic/greetings", "/topic/rooms/a/$presence", "/topic/streamed")
    with Gateway(tmp_path / "log", **mine) as gateway, Process(procfile("bridge"), log, **mine):
        async with StompClient(gateway.stomp) as client:
            for number, topic in enumerate(heard):
                await client.subscribe(topic, id=f"{number}")
            await post_until_taken(gateway, "/topic/toast", "one")
            assert (await client.message()).body == b"one"
            assert await send(gateway, "/topic/toast", b"two")
            assert (await client.message()).body == b"two"
            await asyncio.to_thread(wait_until_heard, switched.primary)
            await asyncio.to_thread(switched.switch)

            posted = [await asyncio.to_thread(post, gateway, heard[0], "three") for _ in range(5)]
            assert posted[1:] == [202] * 4
            sent = [await send(gateway, heard[0], b"four") for _ in range(5)]
            assert sent[1:] == [True] * 4
            bodies = [(await client.message()).body for _ in range(posted.count(202) + sum(sent))]
            assert bodies == [b"three"] * posted.count(202) + [b"four"] * sum(sent)

            service = switched.replica.client
            await asyncio.to_thread(wait_until_heard, switched.replica)
            assert service.publish("GREETING_CHANNEL_INBOUND", b'"five"') == 1
            assert (await client.message()).body == b"five"
            entry = {"topic": "/topic/streamed", "message": "six"}
            service.xadd("TEST_EVENT_TO_WEBSOCKET_SERVER", entry)
            assert (await client.message()).body == b"six"
            async with StompClient(gateway.stomp, connect=people["alice"]) as alice:
                await alice.subscribe("/topic/rooms/a")
                assert json.loads((await client.message()).body)["event"] == "join"
            await asyncio.to_thread(
                wait_until, lambda: switched.links(switched.primary) <= {"client"}
            )


async def send(gateway: Gateway, topic: str, body: bytes) -> bool:
    """Return whether a SEND by a new session was taken."""
    async with StompClient(gateway.stomp) as sender:
        await sender.send("SEND", {"destination": topic, "receipt": "r"}, body)
        return (await sender.frame()).command == "RECEIPT"


@pytest.mark.parametrize("sharded", ["off", "on"])
async def test_on_a_cluster_a_dead_node_is_replaced_and_the_others_serve_on(
    variables: dict[str, str], cluster: Cluster, tmp_path: Path, sharded: str
) -> None:
    fragile, other = (topic_on(cluster, each) for each in cluster.primaries[:2])
    mine = {**variables, "REDIS_URL": cluster.url, "STOMP_SHARDED": sharded}
    with Gateway(tmp_path / "log", **mine) as gateway:
        async with StompClient(gateway.stomp) as client:
            await client.subscribe(fragile)
            await client.subscribe(other, id="1")
            await post_until_taken(gateway, fragile, "one")
            position = (await client.message()).headers["message-id"]
            assert cluster.primaries[0].client.wait(1, 1000 * TIMEOUT) == 1
            cluster.primaries[0].kill()
            assert await asyncio.to_thread(post, gateway, fragile, "lost") == 503
            assert await asyncio.to_thread(post, gateway, other, "two") == 202
            assert (await client.message()).body == b"two"
            await asyncio.to_thread(cluster.fail_over)
            await post_until_taken(gateway, fragile, "three")
            assert (await client.message()).body == b"three"
        await resume(gateway, fragile, position, [b"three"])


def topic_on(cluster: Cluster, server: Server) -> str:
    """Return a topic that a primary has."""
    names = (f"/topic/number/{number}" for number in range(1000))
    return next(
        name for name in names if cluster.owner(f"gateway__group__{group_name(name)}") is server
    )


async def test_a_publish_that_no_replica_has_is_an_error(
    variables: dict[str, str], primary: Server, tmp_path: Path
) -> None:
    mine = {**variables, "REDIS_URL": primary.url, "STOMP_PUBLISH_WAIT": "1"}
    with (
        closing(start_replica(tmp_path, primary)) as replica,
        Gateway(tmp_path / "log", **mine) as gateway,
    ):
        assert post(gateway, "/topic/toast", "one") == 202
        async with StompClient(gateway.stomp) as client:
            await client.request("SEND", {"destination": "/topic/toast"}, b"two")
        replica.stand_still()
        await expect_error(gateway, "/topic/toast")
