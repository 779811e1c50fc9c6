"""Flow: writers wait for clients that read more slowly."""

from __future__ import annotations

import asyncio


class Paced:
    """
    A writer that its transport may tell to wait: a push producer, in Twisted's words.

    Whoever writes to it awaits :meth:`ready` afterwards if it is :attr:`paused`.
    """

    paused = False
    _resumed: asyncio.Event | None = None

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.stopProducing()

    def stopProducing(self) -> None:
        self.paused = False
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    async def ready(self) -> None:
        """Return when all that was written has left, or the connection is gone."""
        while self.paused:
            if self._resumed is None:
                self._resumed = asyncio.Event()
            await self._resumed.wait()
