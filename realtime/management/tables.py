"""Tables: sessions, topics and nodes, as commands show them on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from realtime.nodes.figures import NODE_FIGURES, NOTHING, node_rows, shown

Row = Mapping[str, Any]


def sessions_table(rows: Iterable[Row], count: int) -> Table:
    """Return sessions, the first of so many."""
    rows = list(rows)
    table = _table(f"{len(rows)} of {count} sessions")
    for name in ("session", "user", "address", "version", "since", "heard", "topics"):
        table.add_column(name, no_wrap=name != "topics", overflow="ellipsis")
    for name in ("in", "in/s", "out", "out/s", "waiting"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row["id"],
            _text(row["user"]),
            row["address"] or NOTHING,
            row["version"] or NOTHING,
            shown(row["connected_at"], "age"),
            f"{shown(row['heard_at'], 'age')} ago",
            _text(some(row["topics"], row["subscriptions"])),
            str(row["messages_in"]),
            f"{row['in_per_second']:.1f}",
            str(row["messages_out"]),
            f"{row['out_per_second']:.1f}",
            shown(row["waiting_bytes"], "bytes"),
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
        position = row["position"] or NOTHING
        table.add_row(_text(row["topic"]), str(row["subscribers"]), rate, position)
    return table


def nodes_table(content: Row) -> Table:
    """Return the nodes of an overview."""
    table = _table("nodes")
    for figure in NODE_FIGURES:
        is_text = figure.kind in {"node", "text"}
        table.add_column(figure.label, no_wrap=is_text, justify="left" if is_text else "right")
    for row in node_rows(content):
        table.add_row(*(each["text"] for each in row))
    return table


def problems(sentences: Iterable[str]) -> list[Text]:
    """Return what is wrong, a line each."""
    return [Text(sentence, style="yellow") for sentence in sentences]


def some(topics: Sequence[str], count: int) -> str:
    """Return the first of topics, and how many there are besides."""
    return ", ".join(topics[:3]) + (f" +{count - 3}" if count > 3 else "")


def _text(text: str) -> Text:
    """Return what others have chosen, without what would move a terminal's cursor."""
    return Text("".join(each if each.isprintable() else "\ufffd" for each in text) or NOTHING)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=None, pad_edge=False)
