"""
Fleet: many honest clients that log in with passcodes at once, as after a restart.

Each passcode has to be hashed, which takes a processor for tenths of a second. Those whose turn
does not come soon are told when to come again, and do as resume.js does: they wait a random time,
up to one that doubles.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from .site import PASSCODE, Site, fleet_name
from .wire import HOST, Refused, WebSocket, open_stomp

FLEET: Final = "logins"
CLIENTS: Final = 150

#: As in resume.js, in seconds.
RECONNECT_DELAY: Final = 1.0
MAX_RECONNECT_DELAY: Final = 30.0

#: Seconds within which all have to be in: for 150 clients, and where nothing has to be hashed.
HASHED_SECONDS: Final = 60.0
REMEMBERED_SECONDS: Final = 5.0

#: Seconds after which it is given up.
PATIENCE: Final = 120.0


@dataclass
class Phase:
    """How one time went at which all logged in."""

    name: str
    clients: int
    within: float
    seconds: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def failures(self) -> list[str]:
        if len(self.seconds) < self.clients:
            return [f"{self.clients - len(self.seconds)} never got in"]
        if max(self.seconds) > self.within:
            return [f"the last got in after {max(self.seconds):.1f} s, over {self.within:g} s"]
        return []

    def __str__(self) -> str:
        took = sorted(self.seconds)
        half = took[len(took) // 2] if took else float("inf")
        return (
            f"{self.name}: {len(took)} of {self.clients} are in, half after {half:.1f} s, all after"
            f" {max(took, default=float('inf')):.1f} s; refused: {dict(self.refused) or 'none'};"
            f" {'; '.join(self.failures) or 'ok'}"
        )


async def run_fleet(
    site: Site, clients: int, within: float = HASHED_SECONDS, again: float = REMEMBERED_SECONDS
) -> list[Phase]:
    """Let all come at once, come back after a restart, and come back without one."""
    first = Phase("at once", clients, within)
    online = await _all(site, first)
    await site.restart()
    _cut(online)
    restarted = Phase("after a restart", clients, within)
    online = await _all(site, restarted)
    _cut(online)
    cut = Phase("cut off and back", clients, again)
    _cut(await _all(site, cut))
    return [first, restarted, cut]


async def _all(site: Site, phase: Phase) -> list[WebSocket]:
    began = time.monotonic()
    online: list[WebSocket] = []

    async def come(number: int) -> None:
        online.append(await _client(site, fleet_name(number), phase.refused))
        phase.seconds.append(time.monotonic() - began)

    try:
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*map(come, range(phase.clients)))
    except TimeoutError:
        pass
    return online


async def _client(site: Site, login: str, refused: Counter[str]) -> WebSocket:
    """Try until it is in."""
    attempts = 0
    while True:
        asked = 0.0
        try:
            headers = {"login": login, "passcode": PASSCODE}
            return (await open_stomp(site.port, HOST, headers))[0]
        except Refused as error:
            code, retry_after = (*error.args, "")[:2]
            refused[code] += 1
            asked = float(retry_after or 0)
        except OSError as error:
            refused[type(error).__name__] += 1
        most = min(MAX_RECONNECT_DELAY, RECONNECT_DELAY * 2**attempts)
        attempts += 1
        await asyncio.sleep(asked + random.uniform(0, max(most, asked / 2)))


def _cut(online: list[WebSocket]) -> None:
    """Let all be cut off at once."""
    for websocket in online:
        websocket.transport.abort()
