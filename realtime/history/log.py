"""Log: the history of a destination as this process knows it."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .positions import Position, Reason

#: How many messages are delivered at most to who comes back.
MAX_REPLAY: Final = 300


@dataclass(frozen=True, slots=True)
class Entry:
    """A message in a history; ``expires`` is on the clock of ``time.monotonic``."""

    offset: int
    expires: float
    message: Any


class Lost(Exception):
    """Not everything after a position is there any more."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


@dataclass(slots=True)
class Log:
    """
    The history of a destination as this process knows it: read once, then kept up to date with
    what is delivered.

    Args:
        position: Of the newest message, there or expired.
        ended: The epochs before, and up to which offset their messages are still part of it.
        size, ttl: As in :class:`History`.
    """

    position: Position
    ended: Mapping[str, int]
    size: int
    ttl: float
    entries: deque[Entry] = field(default_factory=deque)

    def append(self, position: Position, message: Any) -> bool:
        """Add the next message; return False if it is not the next."""
        if not position.follows(self.position):
            return False
        if position.epoch != self.position.epoch:
            self.ended = {**self.ended, self.position.epoch: self.position.offset}
        self.position = position
        self.entries.append(Entry(position.offset, time.monotonic() + self.ttl, message))
        if len(self.entries) > self.size:
            self.entries.popleft()
        return True

    def covers(self, position: Position) -> bool:
        """Return whether a position is part of this history; its messages may have expired."""
        ends = {**self.ended, self.position.epoch: self.position.offset}
        return position.offset <= ends.get(position.epoch, -1)

    def since(self, position: Position, most: int = MAX_REPLAY) -> list[Any]:
        """
        Return all messages after a position.

        Raises:
            Lost: If not all of them are there, or they are more than ``most``.
        """
        if not self.covers(position):
            raise Lost("epoch")
        missing = self.position.offset - position.offset
        if missing > most:
            raise Lost("limit")
        return self._newest(missing) if missing else []

    def left(self, position: Position) -> list[Any]:
        """
        Return what is certainly new of all after a position, where not all of it is there.

        Of a history that does not know the position's epoch, but others before its own, nothing
        is: it may be an older copy, whose messages were heard before. Epochs that ended before
        any message are none of a copy.
        """
        if position.epoch == self.position.epoch:
            known = position.offset
        elif position.epoch in self.ended:
            known = self.ended[position.epoch]
        else:
            known = self.position.offset if any(self.ended.values()) else 0
        return self.newest(self.position.offset - known)

    def newest(self, count: int) -> list[Any]:
        """Return the newest messages, as many as are there and may be replayed."""
        self._expire()
        count = min(count, MAX_REPLAY, len(self.entries))
        return self._newest(count) if count else []

    def _newest(self, count: int) -> list[Any]:
        self._expire()
        if count > len(self.entries):
            raise Lost("expired")
        entries = itertools.islice(self.entries, len(self.entries) - count, None)
        return [entry.message for entry in entries]

    def _expire(self) -> None:
        now = time.monotonic()
        while self.entries and self.entries[0].expires <= now:
            self.entries.popleft()
