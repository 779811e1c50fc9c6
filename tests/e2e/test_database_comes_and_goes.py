"""What clients and operators see while PostgreSQL is away, and after it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.clients import StompClient
from tests.kit.event_client import EventClient
from tests.kit.installation import Installation, installed
from tests.kit.postgres import needs_postgres
from tests.kit.processes import Gateway

pytestmark = needs_postgres


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with installed(tmp_path) as installation:
        yield installation


async def test_who_is_connected_goes_on_and_the_log_says_it_once(
    installation: Installation,
) -> None:
    gateway, database = installation.gateway, installation.database
    before = gateway.log.stat().st_size
    async with (
        StompClient(gateway.stomp, connect=installation.headers) as client,
        EventClient(gateway.url, "/topic/a", **installation.headers) as events,
    ):
        await client.subscribe("/topic/a")
        await events.event()
        await asyncio.to_thread(database.stop)
        for _ in range(10):
            assert (await asyncio.to_thread(installation.publish))[0] == 503
        for round in range(8):  # as long as each kind of look at the database takes
            await client.request("SEND", {"destination": "/topic/a"}, b"%d" % round)
            assert (await client.message()).body == b"%d" % round
            assert (await events.message()).json["message"] == str(round)
            await client.subscribe(f"/topic/new/{round}", id=f"new-{round}")
            await asyncio.sleep(1)
        assert installation.readiness() == (
            200,
            {"status": "degraded", "detail": "the database is away: OperationalError"},
        )
        assert installation.ask("/healthz")[0] == 200
        await asyncio.to_thread(database.start)
        await asyncio.to_thread(installation.wait_for_readiness, "ok")
        assert (await asyncio.to_thread(installation.publish))[0] == 202
        assert (await client.message()).body == b"hello"
    with gateway.log.open("rb") as log:
        log.seek(before)
        said = [
            line.partition(" ")[2].partition(" ")[2] for line in log.read().decode().splitlines()
        ]
    assert said == [
        "WARNING realtime.access.limits: the database is away: OperationalError",
        "WARNING realtime.access.limits: the database is back",
    ]


def test_a_gateway_that_starts_meanwhile_is_ready_when_the_database_is_there(
    installation: Installation, tmp_path: Path
) -> None:
    installation.database.stop()
    variables = {
        "DATABASE_URL": installation.database.url,
        "STOMP_ROUTING": "tests.kit.open_routing",
    }
    with Gateway(tmp_path / "log", **variables) as gateway:
        other = Installation(
            installation.database, gateway, installation.token, installation.cookie
        )
        other.wait_for_readiness("degraded")
        installation.database.start()
        other.wait_for_readiness("ok")
        assert other.publish()[0] == 202
        assert "Traceback" not in gateway.output
