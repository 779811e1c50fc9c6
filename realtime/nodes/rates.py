"""
Rates: how many messages each session sends and gets in a second, since operators looked before.

Nothing is counted for it while nobody asks: an answer compares what each session has sent and got
with what it had when it was looked at before, 5 to 60 seconds ago.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from realtime.sessions.node import Member, Node
from realtime.sessions.session import Session

#: Seconds that are looked at: who asks for the first time waits for them.
FIRST_SECONDS: Final = 0.2

#: Seconds after which a look is taken that later ones are compared with, and after which it is too
#: old for that.
LOOK_SECONDS: Final = 5.0
OLD_SECONDS: Final = 60.0

#: After so many sessions the event loop has its turn.
_PER_TURN: Final = 500


class Rate(NamedTuple):
    """Messages a second."""

    messages_in: float
    messages_out: float


class _Look(NamedTuple):
    """What sessions had sent and got at a time, in Unix seconds."""

    at: float
    counts: dict[str, tuple[int, int]]  # in and out, by the ids of sessions


class Rates:
    """The rates of the sessions of one node."""

    def __init__(self) -> None:
        self._looks: list[_Look] = []  # the newest last; two at most

    async def look(self, members: Sequence[Member]) -> None:
        """Look at all sessions, if that is due, and wait until there is something to compare."""
        self._forget()
        now = time.time()
        if not self._looks or now - self._looks[-1].at >= LOOK_SECONDS:
            look = _Look(now, {})
            self._looks = [*self._looks[-1:], look]
            asyncio.get_running_loop().call_later(OLD_SECONDS, self._forget)
            await _count(members, look)
        await asyncio.sleep(self._looks[0].at + FIRST_SECONDS - now)

    def _forget(self) -> None:
        now = time.time()
        self._looks = [each for each in self._looks if now - each.at < OLD_SECONDS]

    def of(self, session: Session) -> Rate:
        """Return the rate of a session; of one that has come since, from its beginning."""
        now, look = time.time(), self._looks[0] if self._looks else None
        counts = look.counts.get(session.id) if look is not None else None
        messages_in, messages_out = counts or (0, 0)
        since = look.at if look is not None and counts is not None else session.connected_at
        seconds = max(now - since, FIRST_SECONDS)
        return Rate(
            round((session.messages_in - messages_in) / seconds, 1),
            round((session.messages_out - messages_out) / seconds, 1),
        )


async def _count(members: Sequence[Member], look: _Look) -> None:
    for number, member in enumerate(members, start=1):
        session = member.session
        look.counts[session.id] = (session.messages_in, session.messages_out)
        if number % _PER_TURN == 0:
            await asyncio.sleep(0)


_rates: Final[WeakKeyDictionary[Node, Rates]] = WeakKeyDictionary()


def rates_of(node: Node) -> Rates:
    """Return the rates of a node's sessions."""
    return _rates.setdefault(node, Rates())
