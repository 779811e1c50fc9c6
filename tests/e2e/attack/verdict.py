"""Verdict: what an attack cost the honest, what the attacker got, and whether that may be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .attacks import Attack
from .honest import Honest

MIB: Final = 2**20


@dataclass(frozen=True)
class Bounds:
    """What an attack may cost; seconds, and bytes."""

    wait: float = 1.0
    #: So many times what the 99th percentile is without an attack, and so much more.
    times_undisturbed: float = 5.0
    more: float = 0.2
    login: float = 2.0
    #: None for what the attack says of itself.
    stopped: float | None = None
    memory: int = 50 * MIB


@dataclass
class Row:
    """What was seen during one attack, or during none."""

    name: str
    wait: float = 0.0
    p99: float = 0.0
    login: float = 0.0
    #: The longest for which the measuring process was held up itself.
    nap: float = 0.0
    before: int = 0
    most: int = 0
    after: int = 0
    faults: list[str] = field(default_factory=list)
    got: dict[str, int] = field(default_factory=dict)
    stopped: float | None = None
    #: What is not as it should be.
    failures: list[str] = field(default_factory=list)

    HEADS: Final = (
        *("attack", "longest wait", "p99", "own delay", "token login", "stopped after"),
        *("memory, MiB: before", "most", "after", "lost", "verdict", "what the attacker got"),
    )

    def cells(self) -> tuple[str, ...]:
        return (
            self.name,
            f"{self.wait * 1000:.0f} ms",
            f"{self.p99 * 1000:.0f} ms",
            f"{self.nap * 1000:.0f} ms",
            f"{self.login * 1000:.0f} ms",
            "never" if self.stopped is None else f"{self.stopped:.1f} s",
            *(f"{size / MIB:.0f}" for size in (self.before, self.most, self.after)),
            f"{len(self.faults)}",
            "; ".join(self.failures) or "ok",
            ", ".join(f"{number} {what}" for what, number in _most(self.got)),
        )


def _most(got: dict[str, int], number: int = 6) -> list[tuple[str, int]]:
    return sorted(got.items(), key=lambda item: -item[1])[:number]


def table(rows: Iterable[Row]) -> str:
    """Return a table in Markdown."""
    lines = [Row.HEADS, ("---",) * len(Row.HEADS), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def percentile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0


def measured(name: str, honest: Honest, begin: float, end: float) -> Row:
    """Return what the honest saw of what was published, and who logged in, in an interval."""
    due = [number for number, at in enumerate(honest.published, 1) if begin <= at < end]
    waits = [client.waits.get(number, float("inf")) for client in honest.clients for number in due]
    lost = sum(wait == float("inf") for wait in waits)
    faults = [fault for client in honest.clients for fault in client.faults]
    for client in honest.clients:
        client.faults = []
    return Row(
        name,
        wait=max(waits, default=float("inf")),
        p99=percentile(waits, 0.99),
        login=max((took for at, took in honest.logins if begin <= at < end), default=0.0),
        nap=max((nap for at, nap in honest.naps if begin - 1 <= at < end), default=0.0),
        faults=faults + ["a message did not come"] * lost,
    )


def judge(row: Row, undisturbed: Row, attack: Attack, tally: dict[str, Any], to: Bounds) -> None:
    """Note what the attacker got, and what is not as it should be."""
    row.got, row.stopped = tally["counts"], tally["stopped"]
    row.failures = list(_failures(row, undisturbed, attack, to))


def _failures(row: Row, undisturbed: Row, attack: Attack, bounds: Bounds) -> Iterator[str]:
    most = min(bounds.wait, bounds.times_undisturbed * undisturbed.p99 + bounds.more)
    most += row.nap  # for which nothing was measured, and the machine was busy with something else
    if row.wait > most:
        yield f"a message waited {row.wait:.2f} s, over {most:.2f} s"
    if row.login > bounds.login:
        yield f"a login took {row.login:.1f} s"
    if attack.within is None:
        pass
    elif row.stopped is None:
        yield "the attacker was not stopped"
    elif row.stopped > (bounds.stopped or attack.within):
        yield f"the attacker was stopped after {row.stopped:.1f} s"
    if row.after > row.before + bounds.memory:
        yield f"{(row.after - row.before) / MIB:.0f} MiB were kept"
    if row.faults:
        yield f"lost or out of order: {row.faults[0]}"
