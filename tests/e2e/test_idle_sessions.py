"""Idle sessions: what one of them costs the process that it is on."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from tests.kit.clients import StompClient
from tests.kit.processes import Gateway

SESSIONS = 1000
#: It is some 10 KiB; with the scope of each handshake it was 21.
MOST_BYTES = 14 * 1024


async def test_an_idle_session_costs_little(variables: dict[str, str], tmp_path: Path) -> None:
    limits = {"STOMP_CONNECTIONS_PER_ADDRESS": "0", "STOMP_CONNECTS_PER_MINUTE": "0"}
    with Gateway(tmp_path / "log", **variables, **limits) as gateway:
        async with AsyncExitStack() as clients:
            await subscribe(clients, gateway, 50)
            before = resident_bytes(gateway)
            await subscribe(clients, gateway, SESSIONS)
            assert resident_bytes(gateway) - before < SESSIONS * MOST_BYTES


async def subscribe(clients: AsyncExitStack, gateway: Gateway, count: int) -> None:
    """Let so many clients hear a topic."""
    for _ in range(0, count, 10):
        some = [StompClient(gateway.stomp, compression=None) for _ in range(10)]
        for client in await asyncio.gather(*map(clients.enter_async_context, some)):
            await client.subscribe("/topic/idle")


def resident_bytes(gateway: Gateway) -> int:
    pages = Path(f"/proc/{gateway.popen.pid}/statm").read_text().split()[1]
    return int(pages) * 4096
