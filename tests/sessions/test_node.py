"""The node: what one server process holds for its sessions ends with it."""

from __future__ import annotations

import asyncio

import pytest

from realtime.sessions.node import this_node
from tests.kit.local_client import TIMEOUT, LocalClient, local_client, local_node, until


@pytest.mark.parametrize("turns", range(40))
async def test_a_node_can_be_closed_while_it_connects_to_redis(turns: int) -> None:
    async with asyncio.timeout(TIMEOUT):
        async with local_node():
            client = LocalClient()
            await client.socket.connect()
            for _ in range(turns):
                await asyncio.sleep(0.0002)
        await client.socket.disconnect()


@pytest.mark.django_db(transaction=True)
async def test_a_clock_that_fails_stops_no_other(
    node: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ticks: list[str] = []
    async with local_client(), local_client():
        first, second = this_node().members

        def fail(now: float) -> float:
            raise LookupError("this clock fails")

        def tick(now: float) -> float:
            ticks.append("")
            return now

        monkeypatch.setattr(first, "tick", fail)
        monkeypatch.setattr(second, "tick", tick)
        for each in (first, second):
            this_node().wake(each)
        await until(lambda: len(ticks) > 2)
    assert "the clock of a session failed" in caplog.text
