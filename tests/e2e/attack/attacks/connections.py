"""Connections that do nothing, or so slowly that it comes to the same."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.e2e.attack.wire import open_http

from .attack import Attacker, attack

#: How many connections wait, and of how many addresses.
SILENT: Final = 5000
ADDRESSES: Final = 8

#: Seconds between two bytes.
DRIP: Final = 1.0


@attack(within=13)
async def silent_sockets(attacker: Attacker) -> None:
    """5 000 WebSockets of 8 addresses never CONNECT, and come again when they are closed."""

    async def wait(number: int) -> None:
        async with attacker.websocket(number % ADDRESSES, logged_in=False) as websocket:
            attacker.tally.count("opened")
            await websocket.ended

    await attacker.by_many(SILENT, wait)


@attack()
async def silent_sockets_of_one(attacker: Attacker) -> None:
    """2 000 WebSockets of one address never CONNECT."""

    async def wait(number: int) -> None:
        async with attacker.websocket(logged_in=False) as websocket:
            attacker.tally.count("opened")
            await websocket.ended

    await attacker.by_many(2000, wait)


async def _drip(attacker: Attacker, beginning: str, drop: bytes) -> None:
    async def send(_: int) -> None:
        async with await open_http(attacker.target.port, attacker.address()) as http:
            http.write(beginning.encode())
            while not http.ended.done() and not http.data:
                http.write(drop)
                attacker.tally.count("drops")
                await asyncio.wait({http.ended}, timeout=DRIP)
            status = bytes(http.data[9:12]).decode() or "none"
            attacker.tally.stop(f"HTTP {status}")

    await attacker.by_many(500, send)


@attack(within=13)
async def slow_heads(attacker: Attacker) -> None:
    """500 connections send the head of a request, a line a second."""
    await _drip(attacker, "GET / HTTP/1.1\r\nHost: localhost\r\n", b"X-Drop: 1\r\n")


@attack(within=65)
async def slow_bodies(attacker: Attacker) -> None:
    """500 connections send the body of a request, a byte a second."""
    head = (
        "POST /api/notification HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Token {attacker.target.token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    )
    await _drip(attacker, head, b" ")
