"""Telling: say something in headers of the next MESSAGE of a subscription, whichever that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .frames import Frames
from .queue import Queue


class Telling:
    """
    Stand before another queue until one MESSAGE has passed.

    Args:
        behind: The queue.
        headers: What the client has to be told.
        done: Called before the MESSAGE passes: from then on this is not needed.
    """

    def __init__(self, behind: Queue, headers: Mapping[str, str], done: Callable[[], None]) -> None:
        self.behind = behind
        self._headers = headers
        self._done = done

    @property
    def waiting(self) -> int:
        return self.behind.waiting

    def deliver(self, frames: Frames) -> None:
        """Let MESSAGE frames pass, the first with the headers."""
        self._done()
        self.behind.deliver(frames.telling(self._headers))

    def discard(self) -> None:
        """Forget what waits: the subscription ended."""
        self.behind.discard()
