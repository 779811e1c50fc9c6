"""
The attacker: a process of its own, so that its work delays no measurement.

It is nice to all others, for it has to share two cores with the gateway, Redis and who measures: a
real one brings its own processor. It prints what it got as JSON::

    python -m tests.e2e.attack.attacker '{"name": ..., "target": {...}, "seconds": 20, ...}'
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from typing import Any, Final

from .attacks import ATTACKS, Attacker
from .target import Target

NICENESS: Final = 19

#: Seconds that it has beyond those of the attack.
LATE: Final = 60.0


#: Seconds between two looks whether it was stopped.
LOOK_SECONDS: Final = 0.05


async def run(name: str, target: Target, seconds: float, scale: float, patience: float) -> Attacker:
    """Attack for so many seconds; if it was not stopped by then, so many more until it is."""
    attack = ATTACKS[name]
    attacker = Attacker(target, attack.network, scale)
    work = asyncio.ensure_future(attack.run(attacker))
    await asyncio.wait({work}, timeout=seconds)
    until = time.monotonic() + patience
    while attacker.tally.stopped is None and not work.done() and time.monotonic() < until:
        await asyncio.sleep(LOOK_SECONDS)
    if work.done():
        work.result()  # it never ends by itself: this raises
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    return attacker


async def start(
    name: str, target: Target, seconds: float, scale: float, patience: float = 0.0
) -> dict[str, Any]:
    """Attack in a process of its own; return its tally."""
    order = {"name": name, "target": vars(target), "seconds": seconds, "scale": scale}
    order["patience"] = patience
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, json.dumps(order), stdout=asyncio.subprocess.PIPE
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds + patience + LATE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    result: dict[str, Any] = json.loads(output)
    return result


def main() -> None:
    os.nice(NICENESS)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    order = json.loads(sys.argv[1])
    order["target"] = Target(**order["target"])
    tally = asyncio.run(run(**order)).tally
    print(json.dumps({"counts": tally.counts, "stopped": tally.stopped}), flush=True)
    os._exit(0)  # 5 000 sockets need no farewell


if __name__ == "__main__":
    main()
