"""Figures: what is shown of overviews and reports, and values as people read them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any, Final, NamedTuple

from django.template.defaultfilters import filesizeformat

#: Stands for what there is not, or nobody knows.
NOTHING: Final = "–"

#: The units of times, and how many seconds each has.
_UNITS: Final = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def host_and_pid(node: str) -> str:
    """Return a node's id without what only programs need."""
    return node.rpartition("-")[0] or node


def names_of(nodes: Iterable[str]) -> str:
    """Return the short names of nodes in words."""
    return ", ".join(map(host_and_pid, nodes))


def duration(seconds: float) -> str:
    """Return seconds in the greatest unit that fits: ``3 s``, ``5 min``."""
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return "0 s"


def number(value: float) -> str:
    """Return a number: whole ones as they are, small ones with a decimal."""
    return f"{value:,.1f}" if abs(value) < 10 and value != int(value) else f"{value:,.0f}"


def data_size(value: float) -> str:
    """Return bytes in the greatest unit that fits."""
    return filesizeformat(value).replace("\xa0", " ")


#: How values are shown, by what they are; a page's script does the same.
_KINDS: Final[Mapping[str, Callable[[Any], str]]] = {
    "text": str,
    "node": host_and_pid,
    "number": number,
    "bytes": data_size,
    "ms": lambda value: f"{number(value)} ms",
    "percent": lambda value: f"{100 * value:.0f} %",
    "age": lambda value: duration(time.time() - value),
    "counts": lambda value: ", ".join(f"{name} {value[name]:,}" for name in sorted(value)) or "0",
}


def shown(value: Any, kind: str) -> str:
    """Return a value as its kind is shown; None as :data:`NOTHING`."""
    return NOTHING if value is None else _KINDS[kind](value)


class Figure(NamedTuple):
    """
    Something that is shown of an overview, or of a node's report.

    Args:
        label: What people call it.
        path: Where it is, as in ``per_second.delivered`` or ``delivery_ms.1``.
        kind: How :func:`shown` shows it.
    """

    label: str
    path: str
    kind: str

    def of(self, content: Any) -> dict[str, Any]:
        """Return it as templates, and their scripts, take it; None is what is not known."""
        value = reduce(_step, self.path.split("."), content)
        return {**self._asdict(), "value": value, "text": shown(value, self.kind)}


def _step(content: Any, name: str) -> Any:
    if isinstance(content, Mapping):
        return content.get(name)
    return None if content is None else content[int(name)]


#: What is shown of each node.
NODE_FIGURES: Final = (
    Figure("Node", "id", "node"),
    Figure("Version", "version", "text"),
    Figure("Up for", "started_at", "age"),
    Figure("Sessions", "sessions", "number"),
    Figure("Topics", "topics", "number"),
    Figure("In/s", "per_second.messages_in", "number"),
    Figure("Delivered/s", "per_second.delivered", "number"),
    Figure("Delivered p99", "delivery_ms.1", "ms"),
    Figure("Slow", "slow", "number"),
    Figure("Waiting", "waiting_bytes", "bytes"),
    Figure("Loop late", "loop_ms", "ms"),
    Figure("Redis", "redis_ms", "ms"),
    Figure("Memory", "memory_bytes", "bytes"),
    Figure("Processor", "processor", "percent"),
)

#: What is shown of each node of the time since it started.
TOTAL_FIGURES: Final = (
    Figure("Node", "id", "node"),
    Figure("Sessions ended by errors", "totals.ended", "counts"),
    Figure("Resumes", "totals.resumes", "counts"),
    Figure("Gaps mended", "totals.gaps", "number"),
    Figure("Losses", "totals.lost", "number"),
    Figure("Dropped", "totals.dropped", "number"),
    Figure("Redis reconnected", "totals.reconnections", "number"),
)


def node_rows(
    content: Mapping[str, Any], figures: Sequence[Figure] = NODE_FIGURES
) -> list[list[dict[str, Any]]]:
    """Return what is shown of each node of an overview."""
    return [[figure.of(report) for figure in figures] for report in content["nodes"]]
