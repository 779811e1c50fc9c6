"""Progress: what ``manage.py bridge`` prints, for people on a terminal, otherwise as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from .runner import Runner
from .status import RouteStatus

#: Seconds between two looks; only what has changed is printed.
LOOK_SECONDS: Final = 5.0

#: Seconds until the first: routes that are free are owned by then.
FIRST_SECONDS: Final = 1.0


async def print_progress(runners: list[Runner]) -> None:
    """Print, every few seconds, what this process consumes and how fast, if that has changed."""
    write = _for_people if sys.stdout.isatty() else _as_json
    before = None
    await asyncio.sleep(FIRST_SECONDS)
    while True:
        owned = [runner for runner in runners if runner.lease.owned]
        now = [(runner.route.id, runner.messages) for runner in owned]
        if now != before:
            print(write(owned, len(runners)), flush=True)
        before = now
        await asyncio.sleep(LOOK_SECONDS)


def _for_people(owned: list[Runner], count: int) -> str:
    lines = [f"{time.strftime('%H:%M:%S')}  {len(owned)} of {count} routes are consumed here"]
    for runner in owned:
        lines.append(f"    {runner.route.id:40} {runner.messages:>12,}  {runner.rate:>8,.0f}/s")
    return "\n".join(lines)


def _as_json(owned: list[Runner], count: int) -> str:
    routes = [
        {"id": runner.route.id, "messages": runner.messages, "rate": round(runner.rate, 1)}
        for runner in owned
    ]
    return json.dumps({"time": time.time(), "routes": count, "owned": routes})


# manage.py bridge --list

#: Stands for what there is not, or nobody knows.
NOTHING: Final = "-"

_NAMES: Final[dict[str, Callable[[RouteStatus], Any]]] = {
    "ROUTE": lambda status: status.id,
    "DIRECTION": lambda status: status.direction,
    "FORMAT": lambda status: status.format,
    "OWNER": lambda status: status.owner,
}
_NUMBERS: Final[dict[str, Callable[[RouteStatus], Any]]] = {
    "LAG": lambda status: status.lag,
    "PENDING": lambda status: status.pending,
    "RATE/S": lambda status: status.rate,
    "MESSAGES": lambda status: status.messages,
    "DEAD-LETTERED": lambda status: status.dead_lettered,
    "ERRORS": lambda status: status.errors,
    "DEAD LETTERS": lambda status: status.dead_letters,
}
_COLUMNS: Final = _NAMES | _NUMBERS


def as_table(statuses: Iterable[RouteStatus]) -> str:
    """Return a line for each route under a line of names, and what is wrong below."""
    statuses = list(statuses)
    rows = [[_text(cell(status)) for cell in _COLUMNS.values()] for status in statuses]
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    lines = [_line(row, widths) for row in [list(_COLUMNS), *rows]]
    return "\n".join([*lines, *(f"{each.id}: {each.problem}" for each in statuses if each.problem)])


def _text(value: Any) -> str:
    if value is None:
        return NOTHING
    return value if isinstance(value, str) else f"{value:,}"


def _line(cells: list[str], widths: list[int]) -> str:
    """Return cells side by side: names to the left, numbers to the right."""
    aligned = [
        cell.ljust(width) if place < len(_NAMES) else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()
