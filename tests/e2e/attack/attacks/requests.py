"""HTTP requests that are dear to refuse."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from tests.e2e.attack.wire import open_http

from .attack import Attacker, attack

#: As large as a request may be.
LARGEST: Final = 4 * 2**20

_LENGTH: Final = re.compile(rb"(?i)content-length: (\d+)")


async def post(
    attacker: Attacker,
    body: Callable[[], bytes],
    path: str = "/api/notification",
    method: str = "POST",
    token: str | None = None,
) -> None:
    """Send a request with a body again and again, and count the answers."""
    key = attacker.target.token if token is None else token
    async with await open_http(attacker.target.port, attacker.address()) as http:
        while True:
            data = body()
            http.write(
                f"{method} {path} HTTP/1.1\r\nHost: localhost:{attacker.target.port}\r\n"
                f"Authorization: Token {key}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(data)}\r\n\r\n".encode()
            )
            http.write(data)
            head = await attacker.answer(http.head())
            found = _LENGTH.search(head)
            await http.body(int(found[1]) if found else 0)
            status = head.split(b" ", 2)[1].decode()
            if status.startswith("2"):
                attacker.tally.count(f"HTTP {status}")
            else:
                attacker.tally.stop(f"HTTP {status}")


@attack()
async def nested_json(attacker: Attacker) -> None:
    """8 connections POST 4 MB of "[" to the API, with a token that is good."""
    body = b"[" * LARGEST
    await attacker.by_many(8, lambda _: post(attacker, lambda: body))


@attack()
async def wide_json(attacker: Attacker) -> None:
    """8 connections POST 4 MB of "[],[]," to the API, as a list, and as a message; both refused."""
    wide = b"[" + b"[]," * (LARGEST // 3 - 30) + b"[]]"
    bodies = (wide, b'{"topic": "/topic/wide", "message": ' + wide + b"}")

    async def send(number: int) -> None:
        await post(attacker, lambda: bodies[number % 2])

    await attacker.by_many(8, send)


@attack()
async def large_to_events(attacker: Attacker) -> None:
    """8 connections send 4 MB to the stream of events, with a token that is none."""
    body = b"x" * LARGEST

    async def send(number: int) -> None:
        method = "POST" if number % 2 else "GET"
        await post(attacker, lambda: body, "/api/events?topic=/topic/a", method, "wrong")

    await attacker.by_many(8, send)
