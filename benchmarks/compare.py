"""
Comparison of two checkouts, measured by turns in one run::

    python -m benchmarks.compare --old ../before --new .
    make bench-compare REV=v1.0

Both gateways share a core; the load has the other. What counts is processor time for each unit.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from .__main__ import run_load, settle
from .servers import Server, Site, gateway
from .workloads import BRIDGE, DAPHNE, WORKLOADS, Workload

#: What is compared: the workload, and the figure that counts.
FIGURES: Final = {
    "fan-out": "us",
    "one-to-one": "us",
    "connections": "us",
    "memory": "KiB_each",
    "send": "us",
    "send-stream": "us",
    "redis": "us",
    "redis-stream": "us",
    "post-list": "us",
}
#: The first four say the most; the others only if they are named.
DEFAULT: Final = ("fan-out", "one-to-one", "connections", "memory")
#: Enough to tell them apart, and soon done.
SESSIONS: Final = 2000

Measured = dict[str, list[float]]


def workload_of(name: str) -> Workload:
    workload = WORKLOADS[name]
    if name != "memory":
        return workload
    return replace(workload, options={**workload.options, "sessions": SESSIONS})


def measure_once(
    site: Site, server: Server, workload: Workload, figure: str, seconds: float
) -> float:
    options = workload.options | workload.of_server.get(DAPHNE, {}) | {"seconds": seconds}
    row: dict[str, Any] = run_load(site, server, workload, options)
    settle(server)
    return float(row[figure])


def compare(name: str, checkouts: dict[str, Path], rounds: int, seconds: float) -> Measured:
    """Return what was measured of each checkout, round by round."""
    workload, figure = workload_of(name), FIGURES[name]
    measured: Measured = {checkout: [] for checkout in checkouts}
    order = list(checkouts)
    with Site() as site:
        servers: dict[str, Server] = {}
        for number in range(rounds):
            for checkout in order if number % 2 else reversed(order):
                if workload.fresh or checkout not in servers:
                    bridge = workload.servers == (BRIDGE,)
                    project = checkouts[checkout]
                    servers[checkout] = gateway(site, project=project, bridge=bridge)
                value = measure_once(site, servers[checkout], workload, figure, seconds)
                measured[checkout].append(value)
            latest = ", ".join(f"{each} {measured[each][-1]:.2f}" for each in checkouts)
            print(f"  {name}, round {number + 1} of {rounds}: {latest} {figure}", flush=True)
    return measured


def row(name: str, measured: Measured) -> str:
    old, new = (statistics.median(measured[checkout]) for checkout in ("old", "new"))
    ratios = [n / o for o, n in zip(measured["old"], measured["new"], strict=True)]
    cells = [
        f"{name}, {FIGURES[name]}",
        f"{old:.2f}",
        f"{new:.2f}",
        f"{new / old:.3f}",
        f"{statistics.median(ratios):.3f}",
        f"{min(ratios):.3f} to {max(ratios):.3f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare two checkouts.")
    parser.add_argument("--old", type=Path, required=True, help="the folder of a checkout")
    parser.add_argument("--new", type=Path, default=Path.cwd(), help="that of the other one")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.5, help="of one measurement")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=DEFAULT)
    options = parser.parse_args()
    checkouts = {"old": options.old.resolve(), "new": options.new.resolve()}
    rows = [
        row(name, compare(name, checkouts, options.rounds, options.seconds))
        for name in options.only
    ]
    print("\n| | old | new | ratio of medians | median of ratios | ratios |")
    print("\n".join(["|---|---|---|---|---|---|", *rows]))


if __name__ == "__main__":
    main()
