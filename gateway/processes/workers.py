"""
``python -m gateway.processes.workers``: as many daphne processes on one port as WORKERS says.

Each has a listening socket of its own on the same address (``SO_REUSEPORT``), over which the
kernel spreads connections evenly. The sockets are opened and kept open here: while a worker is
replaced, connections wait in them, and none is refused or reset.

SIGHUP replaces the workers one after the other; SIGTERM and SIGINT end them all, and at once
when they come twice. Without WORKERS this program becomes daphne, and nothing stands between.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Final

logger = logging.getLogger("gateway.processes.workers")

#: Only Linux spreads connections over the sockets of one address; elsewhere one of them gets all.
SPREADS: Final = sys.platform == "linux"
#: Connections that may wait in one socket; Twisted's own 50 are too few for a storm of clients.
BACKLOG: Final = 4096
DAPHNE: Final = ["--access-log", os.devnull, "gateway.asgi:application"]

#: Seconds that a worker which no longer accepts has to finish requests and opening handshakes.
FINISH_SECONDS: Final = 1.0
#: Seconds from SIGTERM to SIGKILL: longer than a worker takes to say goodbye to its clients.
GRACE_SECONDS: Final = 40.0
#: A worker that served for so many seconds did not fail at once.
STEADY_SECONDS: Final = 10.0
MAX_DELAY: Final = 31


def main() -> int:
    """Serve until told to end; return the exit status."""
    count = worker_count()
    host = os.environ.get("HOST") or "127.0.0.1"
    listeners = open_sockets(host, os.environ.get("PORT") or "8080", count)
    if not os.environ.get("WORKERS"):
        become_daphne(listeners[0])
    logging.basicConfig(
        level=os.environ.get("LOG_LEVEL") or "INFO",
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    return asyncio.run(supervise(listeners))


def worker_count() -> int:
    """Return what WORKERS says; end the program if that is no number of workers."""
    text = os.environ.get("WORKERS") or "1"
    if text == "auto":
        return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if not text.isdecimal() or int(text) < 1:
        sys.exit(f"WORKERS is {text!r}: it has to be a number from 1, or auto: one for each core")
    return int(text)


def check_port(host: str, port: str) -> None:
    """End the program if the port is no port, or somebody uses it."""
    if not port.isdecimal() or not 0 < int(port) < 65536:
        sys.exit(f"PORT is {port!r}: it has to be a number from 1 to 65535")
    try:
        listen(host, int(port)).close()
    except OSError as error:
        other = 18080 if port != "18080" else 28080
        sys.exit(f"can't use port {port} of {host}: {error.strerror}; set PORT, as in PORT={other}")


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a listening socket; with ``shared`` others may listen there too."""
    host = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def open_sockets(host: str, port: str, count: int) -> list[socket.socket]:
    """Return a listening socket for each worker; end the program if the port is not free."""
    check_port(host, port)  # sockets that are shared would not notice somebody else's
    if not SPREADS:
        return [listen(host, int(port))] * count
    return [listen(host, int(port), shared=count > 1) for _ in range(count)]


def become_daphne(listener: socket.socket) -> None:
    """Go on as daphne."""
    fd = listener.fileno()
    os.set_inheritable(fd, True)
    os.execv(sys.executable, [sys.executable, "-m", "daphne", "--fd", str(fd), *DAPHNE])


class Process:
    """A daphne process, and the line to it (see :mod:`gateway.processes.worker`)."""

    def __init__(self, process: asyncio.subprocess.Process, line: socket.socket) -> None:
        self.pid = process.pid
        self.started = asyncio.get_running_loop().time()
        #: Done when the process has ended; its result says how.
        self.end = asyncio.create_task(self._wait())
        self._process = process
        self._line = line

    @classmethod
    async def start(cls, listener: socket.socket) -> Process:
        line, its_end = socket.socketpair()
        line.setblocking(False)
        fd = listener.fileno()
        command = [sys.executable, "-m", "gateway.processes.worker", "--fd", str(fd), *DAPHNE]
        with its_end:
            # A group of its own: Ctrl-C reaches only the supervisor, which passes it on once.
            process = await asyncio.create_subprocess_exec(
                *command, stdin=its_end.fileno(), pass_fds=[fd], process_group=0
            )
        return cls(process, line)

    async def serves(self) -> bool:
        """Wait until it serves; return False if it ends before."""
        return bool(await asyncio.get_running_loop().sock_recv(self._line, 16))

    async def retire(self) -> None:
        """Let it finish what it has begun, then stop it: another accepts already."""
        with contextlib.suppress(OSError):
            self._line.send(b"retire")
        await asyncio.sleep(FINISH_SECONDS)
        await self.stop()

    async def stop(self) -> None:
        """Ask it to end, and see to it that it does."""
        self.send(signal.SIGTERM)
        await asyncio.wait([self.end], timeout=GRACE_SECONDS)
        if not self.end.done():
            logger.warning("pid %d did not end within %d s: killed", self.pid, GRACE_SECONDS)
            self.send(signal.SIGKILL)
            await asyncio.wait([self.end])

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _wait(self) -> str:
        status = await self._process.wait()
        self._line.close()
        return f"exit status {status}" if status >= 0 else f"signal {-status}"


class Worker:
    """The server on one socket, whichever process it is at the moment."""

    process: Process

    def __init__(self, number: int, listener: socket.socket) -> None:
        self.processes: set[Process] = set()  # the one that serves, and those that start or end
        self._number = number
        self._listener = listener
        self._changing = asyncio.Lock()
        self._some_ended = asyncio.Event()
        self._delay = 0

    async def start(self) -> bool:
        """Start a process and wait until it serves; return False if it ends before."""
        process = await Process.start(self._listener)
        self.processes.add(process)
        process.end.add_done_callback(lambda _: self._forget(process))
        if not await process.serves():
            logger.error("worker %d ended before it served (%s)", self._number, await process.end)
            return False
        self.process = process
        logger.info("worker %d serves (pid %d)", self._number, process.pid)
        return True

    async def keep(self) -> None:
        """Start another process whenever the one that serves has ended."""
        while True:
            await self._some_ended.wait()
            self._some_ended.clear()
            async with self._changing:
                if self.process.end.done():
                    await self._revive()

    async def replace(self) -> bool:
        """Start a new process, then end the old; return False if the new one can't serve."""
        async with self._changing:
            old = self.process
            if not await self.start():
                return False
        await old.retire()
        return True

    async def _revive(self) -> None:
        ended = self.process
        how = ended.end.result()
        logger.error("worker %d (pid %d) ended unexpectedly (%s)", self._number, ended.pid, how)
        if asyncio.get_running_loop().time() - ended.started > STEADY_SECONDS:
            self._delay = 0
        await self._pause()
        while not await self.start():
            await self._pause()

    async def _pause(self) -> None:
        """Wait before the next start: longer each time, while starts fail."""
        if self._delay:
            logger.warning("worker %d is started again in %d s", self._number, self._delay)
        await asyncio.sleep(self._delay)
        self._delay = min(2 * self._delay + 1, MAX_DELAY)

    def _forget(self, process: Process) -> None:
        self.processes.discard(process)
        self._some_ended.set()


async def supervise(listeners: list[socket.socket]) -> int:
    """Keep a worker on each socket until SIGTERM or SIGINT; return the exit status."""
    workers = [Worker(number, listener) for number, listener in enumerate(listeners, 1)]
    restart = asyncio.Event()
    work = asyncio.create_task(keep(workers, restart))
    on_signals(restart.set, signal.SIGHUP)
    on_signals(work.cancel, signal.SIGTERM, signal.SIGINT)
    await asyncio.wait([work])
    on_signals(partial(kill, workers), signal.SIGTERM, signal.SIGINT)
    for listener in listeners:
        listener.close()  # refuse at once what nobody would accept
    await asyncio.gather(*(process.stop() for each in workers for process in each.processes))
    if work.cancelled():
        return 0
    work.result()
    return 1


def on_signals(action: Callable[[], object], *numbers: signal.Signals) -> None:
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, action)


def kill(workers: list[Worker]) -> None:
    """End everything at once."""
    for worker in workers:
        for process in worker.processes:
            process.send(signal.SIGKILL)


async def keep(workers: list[Worker], restart: asyncio.Event) -> None:
    """Run the workers; return only if one can't even be started the first time."""
    if not all(await asyncio.gather(*(worker.start() for worker in workers))):
        return
    async with asyncio.TaskGroup() as tasks:
        for worker in workers:
            tasks.create_task(worker.keep())
        tasks.create_task(restart_when_asked(workers, restart))


async def restart_when_asked(workers: list[Worker], asked: asyncio.Event) -> None:
    """Replace the workers one after the other, so that the others serve meanwhile."""
    while True:
        await asked.wait()
        asked.clear()
        logger.info("replacing the workers")
        if await all_replaced(workers):
            logger.info("all workers are replaced")
        else:
            logger.error("the new worker can't serve: the old ones stay")


async def all_replaced(workers: list[Worker]) -> bool:
    for worker in workers:
        if not await worker.replace():
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
