"""CPU time and memory of processes, from /proc."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and all its threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def core_seconds(core: int) -> float:
    """Return how long a core has been busy, whoever used it."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _wait, interrupt, soft, *_ = map(int, ticks)
            return (user + nice + system + interrupt + soft) / TICKS_PER_SECOND
    raise LookupError(f"no core {core} in /proc/stat: pin the benchmarks to cores that exist")


@dataclass(frozen=True)
class Reading:
    """At one moment: the clock, CPU seconds of each role, and busy seconds of each core."""

    clock: float
    roles: dict[str, float]
    cores: dict[str, float]


class Meter:
    """
    Measures an interval.

    ``pids`` has the processes of each role; the load generator itself is the role "load".
    ``cores`` says which core is the server's and which the load's.
    """

    def __init__(self, pids: dict[str, list[int]], cores: dict[str, int]) -> None:
        self.pids = {**pids, "load": [os.getpid()]}
        self.cores = cores
        self.started = self.read()

    def read(self) -> Reading:
        return Reading(
            time.monotonic(),
            {role: sum(map(cpu_seconds, pids)) for role, pids in self.pids.items()},
            {name: core_seconds(core) for name, core in self.cores.items()},
        )

    def interval(self) -> dict[str, Any]:
        """Return seconds, CPU seconds of each role, and of each core, since the start."""
        now, was = self.read(), self.started
        return {
            "seconds": now.clock - was.clock,
            "cpu": {role: now.roles[role] - was.roles[role] for role in self.pids},
            "cores": {name: now.cores[name] - was.cores[name] for name in self.cores},
        }
