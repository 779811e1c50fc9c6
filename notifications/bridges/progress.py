"""What ``manage.py bridge`` prints: for people on a terminal, otherwise lines of JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Final

from .runner import Runner

#: Seconds between two looks; only what has changed is printed.
LOOK_SECONDS: Final = 5.0

#: Seconds until the first: routes that are free are held by then.
FIRST_SECONDS: Final = 1.0


async def print_progress(runners: list[Runner]) -> None:
    """Print, every few seconds, what this process carries and how fast, if that has changed."""
    write = _for_people if sys.stdout.isatty() else _as_json
    before = None
    await asyncio.sleep(FIRST_SECONDS)
    while True:
        held = [runner for runner in runners if runner.lease.held]
        now = [(runner.route.id, runner.carried) for runner in held]
        if now != before:
            print(write(held, len(runners)), flush=True)
        before = now
        await asyncio.sleep(LOOK_SECONDS)


def _for_people(held: list[Runner], count: int) -> str:
    lines = [f"{time.strftime('%H:%M:%S')}  {len(held)} of {count} routes are carried here"]
    for runner in held:
        lines.append(f"    {runner.route.id:40} {runner.carried:>12,}  {runner.rate:>8,.0f}/s")
    return "\n".join(lines)


def _as_json(held: list[Runner], count: int) -> str:
    routes = [
        {"id": runner.route.id, "carried": runner.carried, "rate": round(runner.rate, 1)}
        for runner in held
    ]
    return json.dumps({"time": time.time(), "routes": count, "held": routes})
