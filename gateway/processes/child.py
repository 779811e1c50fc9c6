"""
A child: a server process, as its supervisor starts it, hears it and ends it.

Between the two is a line, a pair of sockets, of which the child has one end as its standard input
(see :mod:`gateway.processes.server`). Something said on it counts, whatever it is: by the child,
that it serves, and then that its event loop runs; by the supervisor, that another accepts from now
on. A child that falls silent hangs, and is killed. One that hears the line cut has lost its
supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from typing import Final

from . import shared

logger = logging.getLogger("gateway.workers")

SERVER: Final = [sys.executable, "-m", "gateway.processes.server"]
DAPHNE: Final = ["--access-log", os.devnull, "gateway.asgi:application"]

#: Seconds that a child which no longer accepts has to finish requests and opening handshakes.
FINISH_SECONDS: Final = 1.0
#: Seconds from SIGTERM to SIGKILL, besides those that a child has to say goodbye to its clients.
GRACE_SECONDS: Final = 10.0
#: A child that said nothing for so many seconds hangs. Before it served, and when it was told to
#: end, it may take its time.
SILENT_SECONDS: Final = 20.0


class Child:
    """A server process, and the line to it."""

    def __init__(self, process: asyncio.subprocess.Process, line: socket.socket) -> None:
        self.pid = process.pid
        self.started = asyncio.get_running_loop().time()
        #: Done when the process has ended; its result says how.
        self.end = asyncio.create_task(self._wait())
        self._process = process
        self._line = line
        self._watching: asyncio.Task[None] | None = None
        self._told_to_end = False

    @classmethod
    async def start(cls, listener: socket.socket) -> Child:
        """Start a server process that accepts connections from this socket."""
        line, its_end = socket.socketpair()
        line.setblocking(False)
        fd = listener.fileno()
        command = [*SERVER, "--fd", str(fd), *DAPHNE]
        fds = [fd, *shared.inherited()]
        with its_end:
            # A group of its own: Ctrl-C reaches only the supervisor, which passes it on once.
            process = await asyncio.create_subprocess_exec(
                *command, stdin=its_end.fileno(), pass_fds=fds, process_group=0
            )
        return cls(process, line)

    async def serves(self) -> bool:
        """Wait until it serves, and watch it from then on; return False if it ends before."""
        said = await asyncio.get_running_loop().sock_recv(self._line, 64)
        if b"beating" in said:  # one of an older release says nothing more
            self._watching = asyncio.create_task(self._watch())
        return bool(said)

    async def retire(self) -> None:
        """Let it finish what it has begun, then stop it: another accepts already."""
        with contextlib.suppress(OSError):
            self._line.send(b"retire")
        await asyncio.sleep(FINISH_SECONDS)
        await self.stop()

    async def stop(self) -> None:
        """Ask it to end, and see to it that it does."""
        if self._watching is not None:
            self._watching.cancel()
        if not self._told_to_end:  # a second signal would hurry it
            self._told_to_end = True
            self.send(signal.SIGTERM)
        seconds = GRACE_SECONDS + goodbye_seconds()
        await asyncio.wait([self.end], timeout=seconds)
        if not self.end.done():
            logger.warning(
                "pid %(pid)d did not end within %(seconds)d s: killed",
                {"pid": self.pid, "seconds": seconds},
            )
            self.send(signal.SIGKILL)
            await asyncio.wait([self.end])

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs still."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _watch(self) -> None:
        """Kill it when it hangs, so that another takes its place."""
        while True:
            heard = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(self._line, 64))
            try:
                await asyncio.wait([heard], timeout=SILENT_SECONDS)
            finally:
                silent = heard.cancel()
            if silent:
                break
            if heard.exception() is not None or not heard.result():
                return  # it has ended
        logger.error(
            "pid %(pid)d hangs: silent for %(seconds)d s; killed",
            {"pid": self.pid, "seconds": SILENT_SECONDS},
        )
        self.send(signal.SIGKILL)

    async def _wait(self) -> str:
        status = await self._process.wait()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        self._line.close()
        shared.settle(self.pid)
        return f"exit status {status}" if status >= 0 else f"signal {-status}"


def goodbye_seconds() -> float:
    """Return how long a child takes at most to say goodbye, as the environment says it."""
    defaults = {"STOMP_DRAIN_DELAY_SECONDS": 0, "STOMP_DRAIN_SECONDS": 30}
    return sum(_seconds(os.environ.get(name, ""), default) for name, default in defaults.items())


def _seconds(text: str, default: int) -> int:
    try:
        return int(text)
    except ValueError:  # the child says that this is no number
        return default
