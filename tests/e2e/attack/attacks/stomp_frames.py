"""STOMP frames: many and small, or such as make work."""

from __future__ import annotations

from typing import Final

from tests.e2e.attack.wire import frame, open_stomp, stomp

from .attack import Attacker, attack

#: STOMP frames in one WebSocket message.
MANY: Final = 500

#: How much there is to replay.
HISTORY: Final = 100
HISTORY_BYTES: Final = 2000

TRANSACTION: Final = {"transaction": "t"}


async def _flood(attacker: Attacker, data: bytes, what: str, number: int) -> None:
    async def send(_: int) -> None:
        async with attacker.websocket() as websocket:
            await attacker.flood(websocket, frame(data), what, number)

    await attacker.by_many(4, send)


@attack()
async def tiny_frames(attacker: Attacker) -> None:
    """4 sessions send BEGIN and ABORT, 1 000 of them in one WebSocket message."""
    pair = stomp("BEGIN", TRANSACTION) + stomp("ABORT", TRANSACTION)
    await _flood(attacker, pair * MANY, "STOMP frames", 2 * MANY)


@attack()
async def receipts(attacker: Attacker) -> None:
    """4 sessions want a receipt for each of 1 000 frames in one WebSocket message."""
    begin, abort = (
        stomp(command, {**TRANSACTION, "receipt": "r"}) for command in ("BEGIN", "ABORT")
    )
    await _flood(attacker, (begin + abort) * (MANY // 2), "STOMP frames", MANY)


@attack()
async def subscriptions(attacker: Attacker) -> None:
    """4 sessions SUBSCRIBE and UNSUBSCRIBE, each to a topic of its own."""

    async def send(_: int) -> None:
        async with attacker.websocket() as websocket:
            while not websocket.ended.done() and websocket.code is None:
                data = b"".join(
                    stomp("SUBSCRIBE", {"id": "s", "destination": f"/topic/s/{attacker.number()}"})
                    + stomp("UNSUBSCRIBE", {"id": "s"})
                    for _ in range(MANY)
                )
                await attacker.send(websocket, frame(data), "subscriptions", MANY)
            await websocket.ended

    await attacker.by_many(4, send)


@attack()
async def replays(attacker: Attacker) -> None:
    """4 sessions ask for all of a full history, again and again."""
    body = b"x" * HISTORY_BYTES
    async with attacker.websocket() as websocket:
        for _ in range(HISTORY):
            websocket.send(stomp("SEND", {"destination": "/topic/full"}, body))
        headers = {"id": "s", "destination": "/topic/full", "replay": "all"}
        again = stomp("SUBSCRIBE", headers) + stomp("UNSUBSCRIBE", {"id": "s"})
        await _flood(attacker, again * MANY, "replays", MANY)


@attack(within=None)
async def heard_replays(attacker: Attacker) -> None:
    """4 sessions do so, and wait for each before the next."""
    body = b"x" * HISTORY_BYTES

    async def send(_: int) -> None:
        target = attacker.target
        websocket, inbox = await open_stomp(target.port, attacker.address(), target.login)
        async with websocket:
            for _ in range(HISTORY):
                websocket.send(stomp("SEND", {"destination": "/topic/full"}, body))
            headers = {"id": "s", "destination": "/topic/full", "replay": "all", "receipt": "r"}
            while True:
                websocket.send(stomp("SUBSCRIBE", headers))
                for _ in range(HISTORY + 1):
                    await inbox.get()
                attacker.tally.count("replays")
                websocket.send(stomp("UNSUBSCRIBE", {"id": "s"}))

    await attacker.by_many(4, send)
