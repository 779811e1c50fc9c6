"""WebSocket frames: many and small, or without an end."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.e2e.attack.wire import CONTINUATION, PING, TEXT, frame

from .attack import Attacker, attack

#: A message's first fragment, and so many bytes of fragments after it.
BEGINS: Final = frame(b"", TEXT, final=False)
BYTES: Final = 4_000_000

EMPTY: Final = frame(b"", CONTINUATION, final=False)
SMALL: Final = frame(b"\n", CONTINUATION, final=False)

#: How much is written at once.
CHUNK: Final = 60_000


async def _fragments(attacker: Attacker, fragment: bytes, *, logged_in: bool) -> None:
    chunk = fragment * (CHUNK // len(fragment))

    async def send(number: int) -> None:
        async with attacker.websocket(logged_in=logged_in) as websocket:
            websocket.write(BEGINS)
            sent = 0
            while sent < BYTES and not websocket.ended.done() and websocket.code is None:
                await attacker.send(websocket, chunk, "fragments", CHUNK // len(fragment))
                sent += len(chunk)
            await asyncio.wait({websocket.ended}, timeout=10)

    await attacker.by_many(8, send)


@attack()
async def empty_fragments(attacker: Attacker) -> None:
    """8 connections send 4 MB of empty fragments each, before CONNECT."""
    await _fragments(attacker, EMPTY, logged_in=False)


@attack()
async def empty_fragments_logged_in(attacker: Attacker) -> None:
    """8 sessions send 4 MB of empty fragments each."""
    await _fragments(attacker, EMPTY, logged_in=True)


@attack()
async def small_fragments(attacker: Attacker) -> None:
    """8 connections send 4 MB of fragments of one byte each, before CONNECT."""
    await _fragments(attacker, SMALL, logged_in=False)


@attack()
async def small_fragments_logged_in(attacker: Attacker) -> None:
    """8 sessions send 4 MB of fragments of one byte each."""
    await _fragments(attacker, SMALL, logged_in=True)


async def _flood(
    attacker: Attacker, data: bytes, what: str, number: int, logged_in: bool, sockets: int = 8
) -> None:
    async def send(_: int) -> None:
        async with attacker.websocket(logged_in=logged_in) as websocket:
            await attacker.flood(websocket, data, what, number)

    await attacker.by_many(sockets, send)


@attack()
async def pings(attacker: Attacker) -> None:
    """8 sessions send nothing but pings."""
    await _flood(attacker, frame(b"?", PING) * 8000, "pings", 8000, True)


@attack()
async def pings_before_connect(attacker: Attacker) -> None:
    """8 connections do so before CONNECT."""
    await _flood(attacker, frame(b"?", PING) * 8000, "pings", 8000, False)


@attack()
async def small_messages(attacker: Attacker) -> None:
    """8 sessions send heart-beats, each a WebSocket message of its own."""
    await _flood(attacker, frame(b"\n") * 8000, "heart-beats", 8000, True)


@attack(within=15)
async def line_feeds(attacker: Attacker) -> None:
    """2 sessions send heart-beats, 60 000 in each WebSocket message."""
    await _flood(attacker, frame(b"\n" * CHUNK), "heart-beats", CHUNK, True, sockets=2)


@attack(within=15)
async def line_feeds_before_connect(attacker: Attacker) -> None:
    """2 connections do so before CONNECT."""
    await _flood(attacker, frame(b"\n" * CHUNK), "heart-beats", CHUNK, False, sockets=2)


@attack(within=35)
async def endless_message(attacker: Attacker) -> None:
    """100 connections send a fragment every second, of a message that never ends."""

    async def drip(number: int) -> None:
        async with attacker.websocket(logged_in=True) as websocket:
            websocket.write(BEGINS)
            while not websocket.ended.done() and websocket.code is None:
                websocket.write(SMALL)
                attacker.tally.count("fragments")
                await asyncio.wait({websocket.ended}, timeout=1)

    await attacker.by_many(100, drip)
