"""The clock of clients in the process of the test: it stands still until it is told to go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from realtime.sessions.node import this_node
from realtime.testing.local import LocalClient


async def test_who_is_silent_for_too_long_is_closed_when_the_test_says_so(
    stomp_client: Any, stomp_clock: Any
) -> None:
    client = await stomp_client(**{"heart-beat": "1000,0"})
    await stomp_clock.advance(2)
    await client.subscribe("/topic/a")  # it is heard
    await stomp_clock.advance(2.5)
    await client.subscribe("/topic/b")
    await stomp_clock.advance(3)
    assert await client.error() == ("heart-beat-missed", 4002)


async def test_who_promised_nothing_may_be_silent(stomp_client: Any, stomp_clock: Any) -> None:
    client = await stomp_client()
    await stomp_clock.advance(3600)
    await client.subscribe("/topic/a")


async def test_by_itself_no_time_passes(stomp_client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.sessions.heartbeats.MISSED_HEARTBEATS", 0.05)
    client = await stomp_client(**{"heart-beat": "1000,0"})
    await asyncio.sleep(1)  # twice as long as a clock that goes needs to see it
    await client.subscribe("/topic/a")


async def test_a_client_gets_its_heart_beats(stomp_client: Any, stomp_clock: Any) -> None:
    client = await stomp_client(**{"heart-beat": "0,2000"})
    await stomp_clock.advance(1)
    assert await client.socket.receive_nothing()
    await stomp_clock.advance(9)
    count = client.socket.output_queue.qsize()
    assert 5 <= count <= 8
    for _ in range(count):
        assert (await client.socket.receive_output())["text"] == "\n"


async def test_who_does_not_connect_in_time_is_closed(stomp_client: Any, stomp_clock: Any) -> None:
    client = LocalClient()
    await client.socket.connect()
    await stomp_clock.advance(9.5)
    assert len(this_node().members) == 1
    await stomp_clock.advance(1)
    assert await client.error() == ("connect-timeout", 1002)
    await client.socket.disconnect()
