"""Attack: what an attack is, what it has to work with, and what it got."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from tests.e2e.attack.target import Target
from tests.e2e.attack.wire import Refused, WebSocket, header, open_stomp, open_websocket

T = TypeVar("T")

#: Seconds for which a write is not taken, after which an attacker counts as held back.
HELD_SECONDS: Final = 0.5

#: Seconds after which who waits for an answer counts as held back.
WAITING_SECONDS: Final = 2.0

#: Bytes a second of all connections together: an attacker in the same data centre. The loopback
#: has more, and takes the processor that the gateway needs.
LINE: Final = 500_000_000

#: Seconds between two connections in the place of one that was not opened at all.
PAUSE: Final = 0.05


@dataclass
class Tally:
    """What became of an attack."""

    counts: Counter[str] = field(default_factory=Counter)
    #: After how many seconds the attacker was cut off, refused or held back for the first time.
    stopped: float | None = None
    began: float = field(default_factory=time.monotonic)

    def count(self, what: str, number: int = 1) -> None:
        """Count what got through."""
        self.counts[what] += number

    def stop(self, how: str) -> None:
        """Count how the attacker was stopped."""
        self.counts[how] += 1
        if self.stopped is None:
            self.stopped = time.monotonic() - self.began


class Attacker:
    """
    What an attack has to work with.

    Args:
        target: Where it goes.
        network: The third number of its addresses, 127.0.N.0/24.
        scale: By what the number of its connections is multiplied: less than 1 for short runs.
    """

    def __init__(self, target: Target, network: int, scale: float = 1.0) -> None:
        self.target = target
        self.tally = Tally()
        self._network = network
        self._scale = scale
        self._line_free_at = 0.0
        self._numbers = itertools.count()

    def address(self, number: int = 0) -> str:
        """Return one of its addresses."""
        return f"127.0.{self._network}.{1 + number % 250}"

    def number(self) -> int:
        """Return a number that it had not before."""
        return next(self._numbers)

    def scaled(self, number: int) -> int:
        return max(1, round(number * self._scale))

    async def by_many(self, number: int, work: Callable[[int], Awaitable[None]]) -> None:
        """Do something on so many connections at once, again and again on each."""
        again = (self._again(work, each) for each in range(self.scaled(number)))
        await asyncio.gather(*again)

    async def _again(self, work: Callable[[int], Awaitable[None]], number: int) -> None:
        while True:
            try:
                await work(number)
            except Refused as refused:
                self.tally.stop(str(refused.args[0]))
                await asyncio.sleep(PAUSE)
            except (ConnectionError, TimeoutError) as error:
                self.tally.stop(f"{error}" or "connection lost")
                await asyncio.sleep(PAUSE)

    @asynccontextmanager
    async def websocket(
        self, number: int = 0, *, logged_in: bool = True
    ) -> AsyncIterator[WebSocket]:
        """Open a WebSocket from an address, and count how it is closed."""
        heard = self._heard
        if logged_in:
            websocket, _ = await open_stomp(
                self.target.port, self.address(number), self.target.login, heard
            )
        else:
            websocket = await open_websocket(self.target.port, self.address(number), heard)
        try:
            yield websocket
        finally:
            if websocket.ended.done() or websocket.code is not None:
                self.tally.stop(f"closed {websocket.code or 'without a word'}")
            websocket.transport.abort()

    def _heard(self, payload: bytes) -> None:
        if payload.startswith(b"ERROR"):
            self.tally.count(f"ERROR {header(payload, 'code')}")

    async def send(self, websocket: WebSocket, data: bytes, what: str, number: int = 1) -> None:
        """Send bytes when the line has room for them; note it where they are not taken soon."""
        now = time.monotonic()
        self._line_free_at = max(self._line_free_at, now) + len(data) / LINE
        if self._line_free_at > now:
            await asyncio.sleep(self._line_free_at - now)
        websocket.write(data)
        began = time.monotonic()
        taking = asyncio.ensure_future(websocket.taken())
        try:
            if not (await asyncio.wait({taking}, timeout=HELD_SECONDS))[0]:
                self.tally.stop("held back")
            self._slowed(websocket, began, await taking)
        finally:
            taking.cancel()
        if not websocket.ended.done():
            self.tally.count(what, number)

    def _slowed(self, websocket: WebSocket, now: float, waited: float) -> None:
        """Note it where a client waits most of the time, if never for long."""
        websocket.waited += waited
        if now - websocket.looked_at >= 1:
            if websocket.waited > (now - websocket.looked_at) / 2:
                self.tally.stop("slowed down")
            websocket.looked_at, websocket.waited = now, 0.0

    async def answer(self, asking: Coroutine[Any, Any, T]) -> T:
        """Wait for an answer; note it where it does not come soon."""
        task = asyncio.ensure_future(asking)
        try:
            if not (await asyncio.wait({task}, timeout=WAITING_SECONDS))[0]:
                self.tally.stop("kept waiting")
            return await task
        finally:
            task.cancel()

    async def flood(self, websocket: WebSocket, data: bytes, what: str, number: int = 1) -> None:
        """Send the same again and again, until the WebSocket is closed."""
        while not websocket.ended.done() and websocket.code is None:
            await self.send(websocket, data, what, number)
        await asyncio.wait({websocket.ended}, timeout=2)


@dataclass(frozen=True)
class Attack:
    """
    An attack.

    Args:
        name: For the command line.
        run: What it does, until it is cancelled.
        network: The third number of its addresses.
        within: Seconds within which the attacker has to be cut off or held back: what comes slowly
            has a deadline instead of a rate. None where it stays within the limits: then it may go
            on, as long as nobody else notices.
        least: Seconds that it has to go on, to see that.
    """

    name: str
    run: Callable[[Attacker], Awaitable[None]]
    network: int
    within: float | None = 5.0
    least: float = 0.0


ATTACKS: Final[dict[str, Attack]] = {}

Run = Callable[[Attacker], Awaitable[None]]


def attack(*, within: float | None = 5.0) -> Callable[[Run], Run]:
    """Register a function as an attack of its name."""

    def register(run: Run) -> Run:
        name = run.__name__.replace("_", "-")
        least = within + 5 if within is not None and within > 5 else 0.0
        ATTACKS[name] = Attack(name, run, 10 + len(ATTACKS), within, least)
        return run

    return register
