"""
``python -m tests.e2e.attack --seconds 20``: attacks, and what they cost the honest.

Each attack comes from addresses of its own, 127.0.10.0/24 and so on; the honest have 127.0.0.1. On
a machine with two cores the attacker takes some of what the others need, though it is nice.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import tests.kit.environment  # noqa: F401  # before Django's settings

from .attacks import ATTACKS
from .fleet import CLIENTS, FLEET, run_fleet
from .run import Plan, run
from .site import Site
from .verdict import Row, table


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Attack a gateway, and look what it costs.")
    names = [*ATTACKS, FLEET]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", default=names,
                        help=f"some of: {', '.join(names)}")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=20, help="of each (default: 20)")
    parser.add_argument("--settle", type=float, default=30,
                        help="in which memory has to be back (default: 30)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="5 seconds each, with 20 clients")
    return parser.parse_args()


async def attack(site: Site, options: argparse.Namespace) -> list[Row]:
    plan = Plan(options.seconds, settle=options.settle)
    if options.quick:
        plan = Plan(5.0, undisturbed=5.0, settle=10.0, clients=20)
    rows = []
    async for row in run(site, [ATTACKS[n] for n in options.only if n in ATTACKS], plan):
        rows.append(row)
        print(f"  {row.name:<28}{'; '.join(row.failures) or 'ok'}", flush=True)
    return rows


def main() -> int:
    options = parse_options()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    failures = 0
    if any(name in ATTACKS for name in options.only):
        with TemporaryDirectory(prefix="gateway-attack-") as folder, Site(Path(folder)) as site:
            rows = asyncio.run(attack(site, options))
        print(f"\n{table(rows)}\n", flush=True)
        failures += sum(bool(row.failures) for row in rows)
    if FLEET in options.only:
        clients = CLIENTS // 5 if options.quick else CLIENTS
        with (
            TemporaryDirectory(prefix="gateway-fleet-") as folder,
            Site(Path(folder), fleet=clients) as site,
        ):
            phases = asyncio.run(run_fleet(site, clients))
        for phase in phases:
            print(f"  {phase}", flush=True)
        failures += sum(bool(phase.failures) for phase in phases)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
