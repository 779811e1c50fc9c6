"""A process is ready if a publish and a subscription work, and says what does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from channels.layers import get_channel_layer

from realtime.nodes.health import READY
from realtime.nodes.readiness import KEPT_SECONDS
from tests.kit.valkeys import (
    NOTHING_KEPT,
    Cluster,
    Server,
    closing,
    start_replica,
)
from tests.nodes.test_health import ask as ask_health

OK: dict[str, str] = {"status": "ok"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with closing(Server(tmp_path, *NOTHING_KEPT)) as server:
        yield server


@pytest.fixture(autouse=True)
async def flushed() -> AsyncIterator[None]:
    yield
    await get_channel_layer().flush()


def use(settings: Any, *hosts: Any, **options: Any) -> None:
    """Let the channel layer be on these."""
    layer = settings.CHANNEL_LAYERS["default"]
    config = {**layer["CONFIG"], "hosts": list(hosts), **options}
    settings.CHANNEL_LAYERS = {"default": {**layer, "CONFIG": config}}


def use_as(settings: Any, server: Server, *rights: str) -> None:
    """Let the channel layer be there as a user with these rights, after all others."""
    server.client.execute_command(
        "ACL", "SETUSER", "gateway", "on", ">word", "~*", "&*", "+@all", *rights
    )
    use(settings, {"address": server.url, "username": "gateway", "password": "word"})


async def ask() -> tuple[int, dict[str, str]]:
    status, _, body = await ask_health(READY)
    return status, json.loads(body)


async def ask_until(status: int, content: dict[str, str]) -> None:
    async with asyncio.timeout(20):
        while (found := await ask()) != (status, content):
            print(found)
            await asyncio.sleep(0.2)


@pytest.mark.parametrize(
    ("missing", "cause"),
    [
        (["resetchannels"], "No permissions to access a channel"),
        (["-info"], "the user has no permissions to run the 'info' command"),
        (["-@dangerous"], "the user has no permissions to run the 'info' command"),
        (["-xadd"], "ACL failure in script: the user has no permissions to run the 'xadd' command"),
        (["-subscribe"], "the user has no permissions to run the 'subscribe' command"),
        (["resetkeys", "~other*"], "No permissions to access a key"),
    ],
)
async def test_a_user_who_lacks_a_right_is_not_ready_and_the_right_is_named(
    settings: Any, server: Server, missing: list[str], cause: str
) -> None:
    use_as(settings, server, *missing)
    status, content = await ask()
    assert status == 503
    assert content["detail"].removeprefix("Redis refuses: ").removeprefix("ERR ") == cause
    server.client.execute_command("ACL", "SETUSER", "gateway", "allkeys", "allchannels", "+@all")
    await ask_until(200, OK)


async def test_of_the_dangerous_commands_info_is_enough(settings: Any, server: Server) -> None:
    use_as(settings, server, "-@dangerous", "+info")
    assert await ask() == (200, OK)


async def test_a_right_that_is_taken_away_and_given_back(settings: Any, server: Server) -> None:
    use_as(settings, server)
    assert await ask() == (200, OK)
    server.client.execute_command("ACL", "SETUSER", "gateway", "resetchannels")
    async with asyncio.timeout(20):
        while (found := await ask())[0] != 503:
            await asyncio.sleep(0.2)
    assert "No permissions to access a channel" in found[1]["detail"]
    server.client.execute_command("ACL", "SETUSER", "gateway", "allchannels")
    await ask_until(200, OK)


async def test_a_wrong_password_is_named_and_not_shown(settings: Any, server: Server) -> None:
    use(settings, {"address": server.url, "username": "gateway", "password": "secret"})
    status, content = await ask()
    assert status == 503
    assert "username-password" in content["detail"]
    assert "secret" not in content["detail"]


async def test_a_redis_that_is_full_is_not_ready(settings: Any, server: Server) -> None:
    use(settings, server.url)
    assert await ask() == (200, OK)
    server.client.config_set("maxmemory", 1)
    await asyncio.sleep(KEPT_SECONDS)
    status, content = await ask()
    assert status == 503
    assert "OOM" in content["detail"] or "maxmemory" in content["detail"]


async def test_without_enough_replicas_it_says_so_and_goes_on(
    settings: Any, server: Server, tmp_path: Path
) -> None:
    use(settings, server.url, replicas=1)
    with closing(start_replica(tmp_path / "replica", server)):
        assert await ask() == (200, OK)
    await asyncio.sleep(KEPT_SECONDS)
    status, content = await ask()
    assert (status, content["status"]) == (200, "degraded")
    assert f"127.0.0.1:{server.port}: 0 of 1 replicas have it" in content["detail"]


async def test_of_a_cluster_the_node_that_is_dead_is_named_and_the_others_serve(
    settings: Any, tmp_path: Path
) -> None:
    with closing(Cluster(tmp_path)) as cluster:
        use(settings, cluster.url)
        assert await ask() == (200, OK)
        dead = cluster.primaries[2]
        dead.kill()
        await asyncio.sleep(KEPT_SECONDS)
        async with asyncio.timeout(20):
            for _ in range(8):
                status, content = await ask()
                assert (status, content["status"]) == (200, "degraded"), content
                assert content["detail"].startswith(f"127.0.0.1:{dead.port}: Redis "), content
                await asyncio.sleep(0.5)
        await asyncio.to_thread(dead.start)
        await ask_until(200, OK)
        for each in cluster.servers:
            each.kill()
        await asyncio.sleep(KEPT_SECONDS)
        assert (await ask())[0] == 503


async def test_of_several_redis_the_one_that_is_away_is_named(
    settings: Any, server: Server, tmp_path: Path
) -> None:
    with closing(Server(tmp_path / "second", *NOTHING_KEPT)) as second:
        use(settings, server.url, second.url)
        assert await ask() == (200, OK)
        second.kill()
        degraded = {
            "status": "degraded",
            "detail": f"127.0.0.1:{second.port}: Redis is away: ConnectionError",
        }
        await ask_until(200, degraded)


async def test_however_many_ask_redis_is_asked_once(settings: Any, server: Server) -> None:
    use(settings, server.url)
    assert await ask() == (200, OK)

    def calls() -> int:
        return int(server.client.info("commandstats")["cmdstat_evalsha"]["calls"])

    await asyncio.sleep(KEPT_SECONDS)
    before = calls()
    assert await asyncio.gather(*(ask() for _ in range(20))) == [(200, OK)] * 20
    assert calls() == before + 1
