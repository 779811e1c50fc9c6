"""
Measure the gateway beside other servers, and the decoder beside other parsers::

    python -m benchmarks                               # everything
    python -m benchmarks --write                       # everything, into RESULTS.md
    python -m benchmarks --quick                       # everything, once and short
    python -m benchmarks --only fan-out one-to-one     # some tables

Peers that can't be built here are left out, and each table says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from . import peers, report
from .meter import cpu_seconds
from .servers import PROJECT, SERVERS, CannotStart, Server, Site, check_machine
from .workloads import CENTRIFUGO_MEMORY, CENTRIFUGO_REDIS, SPRING, WORKLOADS, Workload

DECODER: Final = "decoder"
#: A server that uses less of its core has done with the measurement before.
QUIET: Final = 0.05
TIMEOUT: Final = 600

#: What builds a peer.
BUILT: Final = {
    CENTRIFUGO_REDIS: peers.centrifugo,
    CENTRIFUGO_MEMORY: peers.centrifugo,
    SPRING: peers.spring,
}

Rows = dict[str, dict[str, Any]]


def left_out(servers: Iterable[str]) -> dict[str, str]:
    """Build those servers that are peers; return which can't be built, and why."""
    missing = {}
    for name in servers:
        try:
            BUILT.get(name, lambda: None)()
        except peers.LeftOut as reason:
            missing[name] = str(reason)
    return missing


def start(site: Site, name: str, workload: Workload) -> Server:
    """Start a server, and let it run under load first if it needs to."""
    server = SERVERS[name](site)
    if server.warm_up and not workload.fresh:
        run_load(site, server, workload, options_of(workload, name, server.warm_up))
        settle(server)
    return server


def options_of(workload: Workload, name: str, seconds: float) -> dict[str, Any]:
    return workload.options | workload.of_server.get(name, {}) | {"seconds": seconds}


def run_load(site: Site, server: Server, workload: Workload, options: dict[str, Any]) -> Any:
    """Run the load generator once, on its core, and return its figures."""
    order = {"workload": workload.load, "target": site.target(server), "options": options}
    core = site.cores["load"]
    try:
        process = subprocess.run(
            [sys.executable, "-m", "benchmarks.load", json.dumps(order)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            check=True,
            timeout=TIMEOUT,
        )
    except subprocess.SubprocessError as error:
        return {"failed": f"the load generator: {type(error).__name__}: see above"}
    return report.figures(json.loads(process.stdout))


def settle(server: Server) -> None:
    """Wait until a server has cleaned up: the next one shares its core."""
    for _ in range(100):
        before = sum(map(cpu_seconds, server.pids["server"]))
        time.sleep(0.2)
        if sum(map(cpu_seconds, server.pids["server"])) - before <= QUIET * 0.2:
            return


def run_round(site: Site, servers: dict[str, Server], workload: Workload, seconds: float) -> Rows:
    rows: Rows = {}
    for name in workload.servers:
        server = servers.get(name) or start(site, name, workload)
        options = options_of(workload, name, seconds)
        rows[name] = row = run_load(site, server, workload, options)
        settle(server)
        figure = row.get("failed") or f"{row['rate']:>10,.0f} {workload.unit}/s"
        print(f"  {name:<32}{figure}", flush=True)
    return rows


def measure(workload: Workload, rounds: int, seconds: float) -> Rows:
    """Return each server's medians."""
    rounds = 1 if workload.fresh else rounds
    seconds = max(seconds, workload.least_seconds)
    print(f"\n{workload.title}", flush=True)
    with Site() as site:
        names = () if workload.fresh else workload.servers
        servers = {name: start(site, name, workload) for name in names}
        measured = []
        for number in range(1, rounds + 1):
            print(f" round {number} of {rounds}", flush=True)
            measured.append(run_round(site, servers, workload, seconds))
    return {name: report.medians([rows[name] for rows in measured]) for name in measured[0]}


def run_decoder(quick: bool) -> str:
    command = [sys.executable, "-m", "benchmarks.decoder"]
    command += ["--rounds", "1", "--seconds", "0.05"] if quick else []
    print("\nThe decoder, beside other parsers", flush=True)
    return subprocess.run(command, cwd=PROJECT, check=True, text=True, stdout=-1).stdout


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the gateway beside other servers.")
    parser.add_argument("--rounds", type=int, default=5, help="of measurements (default: 5)")
    parser.add_argument("--seconds", type=float, default=3, help="of one (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one round of 1.5 seconds")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md, of all tables")
    names = [*WORKLOADS, DECODER]
    parser.add_argument("--only", nargs="+", choices=names, metavar="TABLE", default=names,
                        help=f"some of: {', '.join(names)}")  # fmt: skip
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1.5
    if options.write and set(options.only) != set(names):
        parser.error("RESULTS.md is written of one run of all tables: leave out --only")
    return options


def main() -> None:
    options = parse_options()
    check_machine()
    header = report.machine(options.rounds, options.seconds)
    print(header)
    chosen = {name: WORKLOADS[name] for name in WORKLOADS if name in options.only}
    missing = left_out({server for each in chosen.values() for server in each.servers})
    measured: dict[str, Rows] = {}
    tables: dict[str, str] = {}
    for name, workload in chosen.items():
        here = tuple(server for server in workload.servers if server not in missing)
        measured[name] = measure(replace(workload, servers=here), options.rounds, options.seconds)
        tables[workload.title] = report.table(workload, measured[name], missing)
        print(f"\n{tables[workload.title]}", flush=True)
    decoder = run_decoder(options.quick) if DECODER in options.only else ""
    print(f"{decoder}\n{report.goals(measured)}")
    failures = sum("failed" in row for rows in measured.values() for row in rows.values())
    if options.write:
        report.write(header, tables, measured, decoder)
    if failures:
        sys.exit(f"{failures} measurements failed: the tables say why")


if __name__ == "__main__":
    try:
        main()
    except CannotStart as error:
        sys.exit(str(error))
