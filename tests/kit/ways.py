"""The way of a request: which calls it takes through the code of a gateway that is traced."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.conftest import free_port
from tests.kit.clients import TIMEOUT
from tests.kit.processes import Gateway, Process

COMMAND = "python -m daphne -p $PORT --access-log /dev/null tests.kit.ways_app:application"


@dataclass
class Way:
    """Calls in their order: pairs of file and function."""

    calls: list[tuple[str, str]] = field(default_factory=list)

    @property
    def files(self) -> list[str]:
        """The files, in the order in which they are first entered."""
        return list(dict.fromkeys(file for file, _ in self.calls))

    @property
    def changes(self) -> int:
        """How often a call is in another file than the one before."""
        return sum(file != next_file for (file, _), (next_file, _) in pairwise(self.calls))

    def __str__(self) -> str:
        counts = f"{len(self.files)} files, {self.changes} changes, {len(self.calls)} calls"
        return "\n    ".join([counts, *self.files])


class TracedGateway(Gateway):
    """A gateway under daphne that tells what it calls, on a free port."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.stomp = f"ws://localhost:{self.port}/stomp"
        self._calls = folder / "calls.json"
        variables |= {"PORT": str(self.port), "CALLS_FILE": str(self._calls)}
        Process.__init__(self, COMMAND, folder / "log", **variables)
        self.wait_until_it_answers()

    @asynccontextmanager
    async def trace(self) -> AsyncIterator[Way]:
        """Trace what is called meanwhile; the way is complete at the end."""
        way = Way()
        await self._signal(signal.SIGUSR1)
        yield way
        way.calls += await self._signal(signal.SIGUSR2)

    async def _signal(self, number: signal.Signals) -> list[tuple[str, str]]:
        """Begin or end a trace; return what was called since it began."""
        self._calls.unlink(missing_ok=True)
        self.popen.send_signal(number)
        async with asyncio.timeout(TIMEOUT):
            while not self._calls.exists():
                await asyncio.sleep(0.001)
        return [(file, function) for file, function in json.loads(self._calls.read_text())]


def shortest(ways: Iterable[Way]) -> Way:
    """Return the way that enters the fewest files: into the others a timer fell."""
    return min(ways, key=lambda way: (len(way.files), len(way.calls)))
