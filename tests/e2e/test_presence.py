"""Presence between real processes: one of them dies."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from uuid import uuid4

from tests.kit.clients import StompClient
from tests.kit.processes import Gateway


async def events(client: StompClient, count: int) -> set[tuple[str, str]]:
    """Return what is said next of who comes and goes."""
    said = [json.loads((await client.message(25)).body) for _ in range(count)]
    assert len({(each["event"], each["user"]) for each in said}) == count
    return {(each["event"], each["user"]) for each in said}


async def test_the_users_of_a_process_that_is_killed_leave_within_30_seconds(
    gateway: Gateway,
    variables: dict[str, str],
    people: dict[str, dict[str, str]],
    tmp_path: Path,
) -> None:
    room = f"/topic/rooms/{uuid4().hex}"
    async with StompClient(gateway.stomp) as watching:
        await watching.subscribe(f"{room}/$presence")
        with Gateway(tmp_path / "log", **variables) as victim:
            async with (
                StompClient(victim.stomp, connect=people["alice"]) as alice,
                StompClient(victim.stomp, connect=people["bob"]) as bob,
                StompClient(gateway.stomp, connect=people["bob"]) as again,
            ):
                for client in (alice, bob, again):
                    await client.subscribe(room)
                assert await events(watching, 2) == {("join", "alice"), ("join", "bob")}
                victim.popen.kill()
                victim.popen.wait()
                began = time.monotonic()
                async with asyncio.timeout(30):
                    assert await events(watching, 1) == {("leave", "alice")}
                print(f"left after {time.monotonic() - began:.1f} s")
