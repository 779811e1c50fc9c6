"""Turns: how many connections are accepted, and requests begin, in one turn of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.tcp import Port

#: What the requests of one turn may cost together. A WebSocket takes up to 1 ms from its handshake
#: until it is closed for one that came later, and a message takes five turns of the loop: it is
#: some 10 ms late, however many come at once. Requests that follow others cost less.
COST_PER_TURN: Final = 16

#: What the first request of a connection costs, which may become a WebSocket, and each other; and
#: what one costs besides that needs an application.
FIRST: Final = 8
NEXT: Final = 1
APPLICATION: Final = 1

#: Twisted accepts a hundred connections at once, and more where more come: 40 ms and more.
ACCEPTS_PER_TURN: Final = 5


class Turns:
    """
    Let some requests begin in each turn of the event loop, and the others wait for the next.

    Thousands that come at once are one turn otherwise, for which everybody waits. Each address has
    a line of its own, and the first of each comes before the second of any.
    """

    def __init__(self) -> None:
        self._spent = 0
        self._lines: dict[str, deque[tuple[int, Callable[[], None]]]] = {}
        self._scheduled = False

    def begin(self, address: str, later: Callable[[], None], cost: int = FIRST) -> bool:
        """Return whether a request may begin now; if not, ``later`` is called when it may."""
        self._schedule()
        if self._lines or self._spent >= COST_PER_TURN:
            self._lines.setdefault(address, deque()).append((cost, later))
            return False
        self._spent += cost
        return True

    def spend(self, cost: int) -> None:
        """Count what a request that has begun costs besides."""
        self._spent += cost

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._spent, self._scheduled = 0, False
        while self._lines and self._spent < COST_PER_TURN:
            cost, begin = self._take()
            self._spent += cost
            self._schedule()
            begin()

    def _take(self) -> tuple[int, Callable[[], None]]:
        address = next(iter(self._lines))
        line = self._lines.pop(address)
        first = line.popleft()
        if line:
            self._lines[address] = line  # behind the others
        return first


def bound_accepts() -> None:
    """Let a turn of the event loop accept some of the connections that wait to be."""
    port: Any = Port
    port.numberAccepts = property(lambda port: ACCEPTS_PER_TURN, lambda port, number: None)
