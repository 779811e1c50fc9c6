"""Run: each attack in its turn, on one gateway that has to bear them all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Final

from . import attacker
from .attacks import Attack
from .honest import Honest
from .site import MemoryWatch, Site
from .verdict import Bounds, Row, judge, measured

#: Seconds that messages may take to come, when it is looked whether all have.
CATCH_UP: Final = 20.0


@dataclass(frozen=True)
class Plan:
    """
    How to attack.

    Args:
        seconds: For how long, each.
        undisturbed: For how long it is measured before.
        settle: Within how many seconds the memory has to be back.
        clients: How many are honest.
        patience: For how many seconds more, until the attacker is stopped.
        scale: Of the number of connections of the attacker.
        together: How many attacks there are at a time; with one it is clear which cost what.
        bounds: What it may cost.
    """

    seconds: float = 20.0
    undisturbed: float = 10.0
    settle: float = 30.0
    clients: int = 50
    patience: float = 0.0
    scale: float = 1.0
    together: int = 1
    bounds: Bounds = Bounds()


async def run(site: Site, attacks: Iterable[Attack], plan: Plan) -> AsyncIterator[Row]:
    """Yield what was seen without an attack, and then with each."""
    async with Honest(site, plan.clients) as honest:
        await asyncio.sleep(1)  # the first of everything is slower
        undisturbed = await _undisturbed(honest, site, plan)
        yield undisturbed
        waiting = list(attacks)
        while waiting:
            some, waiting = waiting[: plan.together], waiting[plan.together :]
            work = (_attacked(honest, site, attack, undisturbed, plan) for attack in some)
            for row in await asyncio.gather(*work):
                yield row


async def _undisturbed(honest: Honest, site: Site, plan: Plan) -> Row:
    begin = time.monotonic()
    await asyncio.sleep(plan.undisturbed)
    await honest.caught_up(CATCH_UP)
    row = measured("none", honest, begin, begin + plan.undisturbed)
    row.before = row.most = row.after = site.memory
    return row


async def _attacked(
    honest: Honest, site: Site, attack: Attack, undisturbed: Row, plan: Plan
) -> Row:
    begin = time.monotonic()
    seconds = plan.seconds if plan.patience else max(plan.seconds, attack.least)
    with MemoryWatch(site) as memory:
        tally = await attacker.start(attack.name, site.target, seconds, plan.scale, plan.patience)
        end = time.monotonic()
        await honest.caught_up(CATCH_UP)
        row = measured(attack.name, honest, begin, end)
        row.before = memory.before
        row.after = await memory.settled(plan.settle, plan.bounds.memory)
        row.most = memory.most
    judge(row, undisturbed, attack, tally, plan.bounds)
    return row
