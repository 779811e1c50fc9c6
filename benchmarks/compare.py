"""
Comparison of two checkouts: what a unit of work costs each of them, by turns in one run::

    python -m benchmarks.compare --old ../before --new .
    python -m benchmarks.compare --old ../before --new . --rounds 3 --only fan-out

Each measurement starts a gateway and a Redis of its own; all load comes from this checkout.
"""

from __future__ import annotations

import argparse
import compileall
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from . import report
from .__main__ import run_load
from .clients import Failed
from .servers import CannotStart, Site, gateway
from .workloads import WORKLOADS, Workload

OLD: Final = "old"
NEW: Final = "new"
#: A table that every revision has.
ROUTING: Final = "gateway.routing"
#: One with rules.
RULED: Final = "benchmarks.routing"
PACKAGES: Final = ("gateway", "notifications", "realtime")
HEAD: Final = ("", "unit", OLD, NEW, "new/old", "median of rounds", "min..max")

#: What the load generator measured, by checkout; one for each round.
Round = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Cost:
    """
    What is compared: a figure of a workload; ``scale`` of it make one unit. With ``service`` there
    is an account, with a token; with ``logins`` each client brings one, and rules are asked.
    """

    unit: str
    workload: Workload
    figure: str = "us"
    scale: int = 1
    service: bool = False
    logins: bool = False

    def of(self, row: dict[str, Any]) -> float:
        return float(row[self.figure]) / self.scale


def _other(name: str, **options: Any) -> Workload:
    return replace(WORKLOADS[name], options=options)


COSTS: Final = {
    "fan-out": Cost("us per delivery", WORKLOADS["fan-out"]),
    "fan-out-one": Cost("us per delivery", WORKLOADS["fan-out-one"]),
    "one-to-one": Cost("us per message", WORKLOADS["one-to-one"]),
    "connections": Cost(
        "ms per connection",
        _other("connections", at_once=8, destination="/topic/connections"),
        scale=1000,
    ),
    "logins": Cost(
        "ms per connection",
        _other("connections", at_once=20, destination="/topic/connections"),
        scale=1000,
        logins=True,
    ),
    "post": Cost("us per request", WORKLOADS["post"], service=True),
    "post-list": Cost("us per notification", WORKLOADS["post-list"], service=True),
    "memory": Cost("KiB per session", _other("memory", sessions=2000), "KiB_each"),
}


def measure(project: Path, cost: Cost, seconds: float) -> dict[str, Any]:
    """Start the gateway of a checkout, measure once, and end it."""
    options = cost.workload.options | {"seconds": seconds}
    with Site() as site:
        row = run_load(
            site,
            gateway(
                site,
                routing=RULED if cost.logins else ROUTING,
                project=project,
                debug=not cost.logins,
                service=cost.service,
            ),
            cost.workload,
            options,
        )
        log = (site.directory / "0.log").read_text(errors="replace")
    if "failed" in row:
        raise Failed(f"{row['failed']}; the log of {project} ends with:\n{log[-2000:]}")
    return dict(row)


def compare(cost: Cost, checkouts: dict[str, Path], rounds: int, seconds: float) -> list[Round]:
    """Measure both checkouts in each round; who is first changes with every round."""
    measured: list[Round] = []
    for number in range(1, rounds + 1):
        order = (OLD, NEW) if number % 2 else (NEW, OLD)
        rows = {name: measure(checkouts[name], cost, seconds) for name in order}
        measured.append(rows)
        latest = ", ".join(f"{name} {cost.of(rows[name]):.2f}" for name in (OLD, NEW))
        noise = max(map(report.others, rows.values()))
        print(f"  round {number}: {latest} {cost.unit}; other programs {noise:.0%}", flush=True)
    return measured


def cells(name: str, cost: Cost, rounds: Sequence[Round]) -> list[str]:
    """Return a row of the table."""
    old, new = ([cost.of(rows[which]) for rows in rounds] for which in (OLD, NEW))
    ratios = [after / before for before, after in zip(old, new, strict=True)]
    medians = [median(old), median(new)]
    return [
        name,
        cost.unit,
        *(f"{value:,.2f}" for value in medians),
        f"{medians[1] / medians[0]:.3f}",
        f"{median(ratios):.3f}",
        f"{min(ratios):.3f}..{max(ratios):.3f}",
    ]


def compare_all(options: argparse.Namespace) -> tuple[str, bool]:
    """Return the table, and whether all could be measured."""
    checkouts = {OLD: checkout(options.old), NEW: checkout(options.new)}
    table: list[Sequence[str]] = [HEAD]
    rows: list[dict[str, Any]] = []
    for name in options.only:
        print(f"\n{name}", flush=True)
        try:
            rounds = compare(COSTS[name], checkouts, options.rounds, options.seconds)
        except (Failed, CannotStart, subprocess.CalledProcessError) as error:
            print(f"  failed: {error}", flush=True)
            table.append([name, "failed", "see above"])
        else:
            table.append(cells(name, COSTS[name], rounds))
            rows += [row for each in rounds for row in each.values()]
    whole = all(row[1] != "failed" for row in table)
    return report.aligned(table) + report.noise(rows), whole


def checkout(folder: Path) -> Path:
    """Return the whole path of a checkout, with its code compiled: compiling takes memory."""
    folder = folder.resolve()
    if not (folder / "Procfile").exists():
        raise CannotStart(f"{folder} is no checkout of this project: it has no Procfile")
    for package in PACKAGES:
        compileall.compile_dir(folder / package, quiet=2)
    return folder


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare what work costs two checkouts.")
    parser.add_argument("--old", type=Path, required=True, metavar="DIR", help="one checkout")
    parser.add_argument("--new", type=Path, required=True, metavar="DIR", help="the other one")
    parser.add_argument("--rounds", type=int, default=9, help="of measurements (default: 9)")
    parser.add_argument("--seconds", type=float, default=1.5, help="of one (default: 1.5)")
    parser.add_argument("--only", nargs="+", choices=COSTS, metavar="NAME", default=list(COSTS),
                        help=f"some of: {', '.join(COSTS)}")  # fmt: skip
    return parser.parse_args()


def main() -> None:
    # Killed without this, it would leave the servers of the moment behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    options = parse_options()
    print(report.machine(options.rounds, options.seconds))
    table, whole = compare_all(options)
    print(f"\n{table}")
    if not whole:
        sys.exit("not all could be measured: the text above the table says why")


if __name__ == "__main__":
    try:
        main()
    except CannotStart as error:
        sys.exit(str(error))
