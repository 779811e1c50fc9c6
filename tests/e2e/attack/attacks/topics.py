"""New topics: each costs memory in Redis."""

from __future__ import annotations

from typing import Final

from tests.e2e.attack.wire import frame, stomp

from .attack import Attacker, attack
from .requests import post

MANY: Final = 500
LIST: Final = 1000


@attack()
async def new_topics_by_send(attacker: Attacker) -> None:
    """4 sessions SEND to a new topic each time."""

    async def send(_: int) -> None:
        async with attacker.websocket() as websocket:
            while not websocket.ended.done() and websocket.code is None:
                data = b"".join(
                    stomp("SEND", {"destination": f"/topic/new/{attacker.number()}"}, b"x")
                    for _ in range(MANY)
                )
                await attacker.send(websocket, frame(data), "messages to new topics", MANY)
            await websocket.ended

    await attacker.by_many(4, send)


@attack()
async def new_topics_by_post(attacker: Attacker) -> None:
    """8 connections POST lists of 1 000 messages to 1 000 new topics."""

    def body() -> bytes:
        items = (
            f'{{"topic":"/topic/posted/{attacker.number()}","message":"x"}}' for _ in range(LIST)
        )
        return f"[{','.join(items)}]".encode()

    await attacker.by_many(8, lambda _: post(attacker, body))
