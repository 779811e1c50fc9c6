"""
A keeper: sees to it that a server accepts from one socket, whichever process it is at the moment.

The log calls that server a worker, by its number: ``worker 1 serves (pid 4711)``.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Final

from .child import Child

logger = logging.getLogger("gateway.workers")

#: A child that served for so many seconds did not fail at once.
STEADY_SECONDS: Final = 10.0
MAX_DELAY: Final = 31


class Delays:
    """The seconds to wait before each next start: 0, 1, 3, 7 and so on while starts fail."""

    def __init__(self) -> None:
        self._next = 0

    def reset(self) -> None:
        """Begin again with no delay."""
        self._next = 0

    def take(self) -> int:
        """Return the next delay."""
        delay = self._next
        self._next = min(2 * delay + 1, MAX_DELAY)
        return delay


class Keeper:
    """Keeps a child serving on a socket, and replaces it when asked."""

    serving: Child

    def __init__(self, number: int, listener: socket.socket) -> None:
        self.children: set[Child] = set()  # the one that serves, and those that start or end
        self._number = number
        self._listener = listener
        self._changing = asyncio.Lock()
        self._some_ended = asyncio.Event()
        self._delays = Delays()

    async def start(self) -> bool:
        """Start a child and wait until it serves; return False if it ends before."""
        child = await Child.start(self._listener)
        self.children.add(child)
        child.end.add_done_callback(lambda _: self._forget(child))
        if not await child.serves():
            logger.error(
                "worker %(worker)d ended before it served (%(how)s)",
                {"worker": self._number, "how": await child.end},
            )
            return False
        self.serving = child
        logger.info(
            "worker %(worker)d serves (pid %(pid)d)", {"worker": self._number, "pid": child.pid}
        )
        return True

    async def keep(self) -> None:
        """Start another child whenever the one that serves has ended."""
        while True:
            await self._some_ended.wait()
            self._some_ended.clear()
            async with self._changing:
                if self.serving.end.done():
                    await self._revive()

    async def replace(self) -> bool:
        """Start a new child, then end the old; return False if the new one can't serve."""
        async with self._changing:
            old = self.serving
            if not await self.start():
                return False
        await old.retire()
        return True

    async def _revive(self) -> None:
        ended = self.serving
        logger.error(
            "worker %(worker)d (pid %(pid)d) ended unexpectedly (%(how)s)",
            {"worker": self._number, "pid": ended.pid, "how": ended.end.result()},
        )
        if asyncio.get_running_loop().time() - ended.started > STEADY_SECONDS:
            self._delays.reset()
        await self._pause()
        while not await self.start():
            await self._pause()

    async def _pause(self) -> None:
        if delay := self._delays.take():
            logger.warning(
                "worker %(worker)d is started again in %(seconds)d s",
                {"worker": self._number, "seconds": delay},
            )
        await asyncio.sleep(delay)

    def _forget(self, child: Child) -> None:
        self.children.discard(child)
        self._some_ended.set()
