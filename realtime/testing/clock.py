"""Clock: the time of the sessions in the process of a test."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from typing import Final
from unittest import mock

from realtime.sessions.heartbeats import TICK_SECONDS
from realtime.sessions.node import this_node
from realtime.sessions.stomp_session import StompSession

#: Seconds between two looks of a node at its clock that stands still; a test does not last so long.
_NEVER: Final = 1e6


class Clock:
    """
    The clock of the sessions in this process: it stands still, but for what a test moves it on.

    It is the time of heart-beats, and of the CONNECT that has to come. What is kept with a time of
    day, as the end of a token is, is not its matter.
    """

    async def advance(self, seconds: float) -> None:
        """
        Let time pass for all sessions: heart-beats are sent, and who is overdue is closed.

        The sessions grow older; for the event loop, and all else that looks at its clock, no time
        passes.
        """
        while seconds > 0:
            step = min(TICK_SECONDS, seconds)
            for member in this_node().members:
                if isinstance(member, StompSession):
                    await _grow_older(member, step)
            seconds -= step


def standing_still() -> AbstractContextManager[object]:
    """Return what keeps the clock of nodes from moving by itself, while it is entered."""
    return mock.patch("realtime.sessions.node.TICK_SECONDS", _NEVER)


async def _grow_older(session: StompSession, seconds: float) -> None:
    session.heartbeats.connect_by -= seconds
    session.heartbeats.heard -= seconds
    session.outbox.last_sent -= seconds
    session.tick(asyncio.get_running_loop().time())
    await session.outbox.flushed()
