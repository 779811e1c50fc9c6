"""Live connections as rows: they come, and go with their client or their process."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from tests.kit.clients import StompClient
from tests.kit.processes import Gateway, manage


def session_ids(variables: dict[str, str]) -> set[str]:
    with sqlite3.connect(variables["DATABASE_URL"].removeprefix("sqlite:///")) as database:
        rows = database.execute("SELECT id FROM realtime_sessionrecord").fetchall()
    database.close()
    return {row[0] for row in rows}


async def until(condition: Callable[[], bool], seconds: float) -> None:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds
        await asyncio.sleep(0.2)


async def test_a_connection_is_a_row_while_it_lives(
    gateway: Gateway, variables: dict[str, str]
) -> None:
    async with StompClient(gateway.stomp) as client:
        session = client.connected.headers["session"]
        await until(lambda: session in session_ids(variables), 10)
    await until(lambda: session not in session_ids(variables), 10)


async def test_rows_of_a_process_that_was_killed_are_gone_within_30_seconds(
    gateway: Gateway, variables: dict[str, str], tmp_path: Path
) -> None:
    async with StompClient(gateway.stomp):  # a node writes while it has, or had, sessions
        with Gateway(tmp_path / "log", **variables) as victim:
            async with StompClient(victim.stomp) as client:
                session = client.connected.headers["session"]
                await until(lambda: session in session_ids(variables), 10)
                victim.popen.kill()
                victim.popen.wait()
                await until(lambda: session not in session_ids(variables), 30)


async def test_rows_of_a_process_that_is_told_to_stop_go_with_it(
    variables: dict[str, str], tmp_path: Path
) -> None:
    with Gateway(tmp_path / "log", **variables) as gateway:
        async with StompClient(gateway.stomp) as client:
            session = client.connected.headers["session"]
            await until(lambda: session in session_ids(variables), 10)
            assert gateway.stop() == 0
    assert session not in session_ids(variables)


def test_the_database_needs_no_further_migration(variables: dict[str, str]) -> None:
    assert "No changes detected" in manage("makemigrations", "--check", "--dry-run", **variables)
