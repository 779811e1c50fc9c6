"""Tables: sessions, topics and nodes, as commands show them on a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]

#: A second, a minute, an hour and a day, each with its letter.
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def sessions_table(rows: Iterable[Row], count: int) -> Table:
    """Return sessions, the first of so many."""
    rows = list(rows)
    table = _table(f"{len(rows)} of {count} sessions")
    for name in ("session", "user", "address", "version", "since", "heard", "topics"):
        table.add_column(name, no_wrap=name != "topics", overflow="ellipsis")
    for name in ("in", "out", "waiting"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row["id"],
            Text(row["user"] or "–"),
            row["address"] or "–",
            row["version"] or "–",
            age(row["connected_at"]),
            f"{age(row['heard_at'])} ago",
            Text(some(row["topics"], row["subscriptions"])),
            str(row["messages_in"]),
            str(row["messages_out"]),
            size(row["waiting_bytes"]),
            style="yellow" if row["slow"] else "",
        )
    return table


def topics_table(rows: Iterable[Row], count: int) -> Table:
    """Return topics, the first of so many."""
    rows = list(rows)
    table = _table(f"{len(rows)} of {count} topics")
    table.add_column("topic", overflow="fold")
    for name in ("subscribers", "messages/s", "position"):
        table.add_column(name, justify="right")
    for row in rows:
        rate = f"{row['per_second']:.1f}"
        table.add_row(Text(row["topic"]), str(row["subscribers"]), rate, row["position"] or "–")
    return table


def nodes_table(rows: Iterable[Row]) -> Table:
    """Return the reports of nodes."""
    table = _table("nodes")
    table.add_column("node", no_wrap=True)
    for name in (
        "sessions", "topics", "slow", "in/s", "published/s", "delivered/s", "p99 ms", "loop ms",
        "Redis ms", "memory", "CPU",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for row in rows:
        rates = row["per_second"]
        table.add_row(
            row["id"],
            str(row["sessions"]),
            str(row["topics"]),
            str(row["slow"]),
            *(f"{rates[name]:.0f}" for name in ("messages_in", "published", "delivered")),
            milliseconds(row["delivery_ms"][1] if row["delivery_ms"] else None),
            milliseconds(row["loop_ms"]),
            milliseconds(row["redis_ms"]),
            size(row["memory_bytes"]),
            f"{100 * row['processor']:.0f} %",
        )
    return table


def problems(sentences: Iterable[str]) -> list[Text]:
    """Return what is wrong, a line each."""
    return [Text(sentence, style="yellow") for sentence in sentences]


def age(since: float) -> str:
    """Return for how long something has been so, in its greatest unit."""
    seconds = max(0, int(time.time() - since))
    for unit, letter in _UNITS:
        if seconds >= unit:
            return f"{seconds // unit} {letter}"
    return "0 s"


def size(count: int) -> str:
    """Return a number of bytes for people."""
    for unit, name in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return str(count)


def milliseconds(value: float | None) -> str:
    """Return milliseconds, or a dash for what is not known."""
    return "–" if value is None else f"{value:.1f}"


def some(topics: Sequence[str], count: int) -> str:
    """Return the first of topics, and how many there are besides."""
    return ", ".join(topics[:3]) + (f" +{count - 3}" if count > 3 else "")


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=None, pad_edge=False)
