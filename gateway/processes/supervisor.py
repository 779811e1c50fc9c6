"""
The supervisor: as many server processes on one port as WORKERS says.

SIGHUP replaces them one after the other; SIGTERM and SIGINT end them all, and at once when they
come twice. Without WORKERS this program becomes daphne, and nothing stands between.
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

from gateway.logs import LINE, formatter_named, level_named

from .child import DAPHNE
from .keeper import Keeper
from .shared import open_metrics_port, shared_by_workers
from .sockets import open_sockets

logger = logging.getLogger("gateway.workers")


def main() -> int:
    """Serve until told to end; return the exit status."""
    count = worker_count()
    host = os.environ.get("HOST") or "127.0.0.1"
    listeners = open_sockets(host, os.environ.get("PORT") or "8080", count)
    metrics_listener = open_metrics_port()
    if not os.environ.get("WORKERS"):
        become_daphne(listeners[0])
    log_to_stderr()
    with shared_by_workers(), metrics_listener or contextlib.nullcontext():
        return asyncio.run(supervise(listeners))


def log_to_stderr() -> None:
    """Log as the servers do; end the program if LOG_FORMAT or LOG_LEVEL is none."""
    try:
        formatter = formatter_named(os.environ.get("LOG_FORMAT", ""))
        level = level_named(os.environ.get("LOG_LEVEL", ""))
    except ValueError as error:
        sys.exit(str(error))
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(LINE))
    logging.basicConfig(level=level, handlers=[handler])


def worker_count() -> int:
    """Return what WORKERS says; end the program if that is no number of workers."""
    text = os.environ.get("WORKERS") or "1"
    if text == "auto":
        return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if not text.isdecimal() or int(text) < 1:
        sys.exit(f"WORKERS is {text!r}: it has to be a number from 1, or auto: one for each core")
    return int(text)


def become_daphne(listener: socket.socket) -> None:
    """Go on as daphne."""
    fd = listener.fileno()
    os.set_inheritable(fd, True)
    command = [sys.executable, "-m", "daphne", "--fd", str(fd), *DAPHNE]
    os.execv(sys.executable, command)  # nosec B606 # our own words only, and no shell


async def supervise(listeners: list[socket.socket]) -> int:
    """Keep a server on each socket until SIGTERM or SIGINT; return the exit status."""
    return await Supervisor(listeners).run()


class Supervisor:
    """The keepers of all sockets, and the signals by which an operator speaks to them."""

    def __init__(self, listeners: list[socket.socket]) -> None:
        self._listeners = listeners
        self._keepers = [Keeper(number, each) for number, each in enumerate(listeners, 1)]
        self._replacement_asked = asyncio.Event()

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; return 1 if not even the first start succeeded."""
        work = asyncio.create_task(self._keep())
        on_signals(self._replacement_asked.set, signal.SIGHUP)
        on_signals(work.cancel, signal.SIGTERM, signal.SIGINT)
        await asyncio.wait([work])
        await self._end()
        if work.cancelled():
            return 0
        work.result()  # raises what failed
        return 1

    async def _keep(self) -> None:
        if not all(await asyncio.gather(*(keeper.start() for keeper in self._keepers))):
            return
        async with asyncio.TaskGroup() as tasks:
            for keeper in self._keepers:
                tasks.create_task(keeper.keep())
            tasks.create_task(self._replace_when_asked())

    async def _replace_when_asked(self) -> None:
        while True:
            await self._replacement_asked.wait()
            self._replacement_asked.clear()
            logger.info("replacing the workers")
            if await self._replace_all():
                logger.info("all workers are replaced")
            else:
                logger.error("the new worker can't serve: the old ones stay")

    async def _replace_all(self) -> bool:
        # One after the other, so that the others serve meanwhile.
        for keeper in self._keepers:
            if not await keeper.replace():
                return False
        return True

    async def _end(self) -> None:
        on_signals(self._kill, signal.SIGTERM, signal.SIGINT)
        for listener in self._listeners:
            listener.close()  # refuse at once what nobody would accept
        children = [child for keeper in self._keepers for child in keeper.children]
        await asyncio.gather(*(child.stop() for child in children))

    def _kill(self) -> None:
        for keeper in self._keepers:
            for child in keeper.children:
                child.send(signal.SIGKILL)


def on_signals(action: Callable[[], object], *numbers: signal.Signals) -> None:
    """Let signals call a function from now on."""
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, action)
