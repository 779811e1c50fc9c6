"""How the bridges are doing, as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from .status import RouteStatus

#: Stands for what there is not, or nobody knows.
NOTHING: Final = "-"

_NAMES: Final[dict[str, Callable[[RouteStatus], Any]]] = {
    "ROUTE": lambda status: status.id,
    "DIRECTION": lambda status: status.direction,
    "FORMAT": lambda status: status.format,
    "HOLDER": lambda status: status.holder,
}
_NUMBERS: Final[dict[str, Callable[[RouteStatus], Any]]] = {
    "LAG": lambda status: status.lag,
    "PENDING": lambda status: status.pending,
    "RATE/S": lambda status: status.rate,
    "CARRIED": lambda status: status.carried,
    "PUT ASIDE": lambda status: status.put_aside,
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
