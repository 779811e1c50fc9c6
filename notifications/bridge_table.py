"""How the bridges are doing, as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from .bridge_status import RouteStatus

#: Stands for what there is not, or nobody knows.
NOTHING: Final = "-"

_COLUMNS: Final[dict[str, Callable[[RouteStatus], Any]]] = {
    "ROUTE": lambda status: status.id,
    "FORMAT": lambda status: status.format,
    "HOLDER": lambda status: status.holder,
    "LAG": lambda status: status.backlog and status.backlog.lag,
    "PENDING": lambda status: status.backlog and status.backlog.pending,
    "RATE": lambda status: f"{status.rate:.1f}/s",
    "CARRIED": lambda status: status.carried,
    "PUT ASIDE": lambda status: status.put_aside,
    "ERRORS": lambda status: status.errors,
    "DEAD LETTERS": lambda status: status.dead_letters,
}


def as_table(statuses: Iterable[RouteStatus]) -> str:
    """Return a line for each route under a line of names, and what is wrong below."""
    statuses = list(statuses)
    rows = [[_text(cell(status)) for cell in _COLUMNS.values()] for status in statuses]
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    problems = [f"{status.id}: {status.problem}" for status in statuses if status.problem]
    return "\n".join([*(_line(row, widths) for row in [list(_COLUMNS), *rows]), *problems])


def _text(value: Any) -> str:
    return NOTHING if value is None else str(value)


def _line(cells: list[str], widths: list[int]) -> str:
    """Return cells side by side: names to the left, numbers to the right."""
    aligned = [
        cell.ljust(width) if number < _NAMES else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()


#: How many columns are names.
_NAMES: Final = 3
