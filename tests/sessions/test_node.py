"""The node: what one server process holds for its sessions ends with it."""

from __future__ import annotations

import asyncio
from typing import Any

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


async def test_who_says_nothing_longest_makes_room_for_others(node: None, settings: Any) -> None:
    settings.STOMP_SILENT_CONNECTIONS = 2
    silent = [LocalClient() for _ in range(3)]
    async with local_client():  # which has sent CONNECT, and does not count
        for each in silent[:2]:
            await each.socket.connect()
        assert await silent[0].socket.receive_nothing()
        await silent[2].socket.connect()
        assert await silent[0].error() == ("connect-timeout", 1002)
        for each in silent[1:]:
            assert await each.socket.receive_nothing()
    for each in silent:
        await each.socket.disconnect()


async def test_who_has_left_makes_room_too(node: None, settings: Any) -> None:
    settings.STOMP_SILENT_CONNECTIONS = 1
    for _ in range(3):
        client = LocalClient()
        await client.socket.connect()
        assert await client.socket.receive_nothing()
        await client.socket.disconnect()


async def test_who_has_not_logged_in_is_not_shown_to_operators(node: None) -> None:
    client, writer = LocalClient(), this_node()._writer
    await client.socket.connect()
    assert (len(this_node().members), writer._live) == (1, set())
    await client.socket.disconnect()
    async with local_client():
        assert writer._live == {member.session for member in this_node().members}
