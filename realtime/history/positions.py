"""
Position: where in the history of a destination a message stands.

Where nothing was published yet, clients stand at offset 0 of an epoch that no message has; the
first message begins another with the same stem, its first eight characters.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final, Literal

#: Why not everything can be delivered to who comes back.
Reason = Literal["epoch", "expired", "limit"]

#: So many characters of an epoch say which destination of which data it is of.
_STEM: Final = 8


@dataclass(slots=True)
class Position:
    """A value: where in the history of a destination a message stands: its ``message-id``."""

    epoch: str
    offset: int

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Return the position that a ``message-id`` is, or None if it is none."""
        epoch, _, offset = text.rpartition("-")
        if not epoch or not (offset.isascii() and offset.isdigit() and len(offset) <= 18):
            return None
        return cls(epoch, int(offset))

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}"

    def follows(self, other: Position) -> bool:
        """Return whether this is the very next."""
        if self.offset != other.offset + 1:
            return False
        return self.epoch == other.epoch or (
            other.offset == 0 and self.epoch[:_STEM] == other.epoch[:_STEM]
        )

    def before(self, count: int) -> Position:
        """Return where one stands before the last messages, so many of them."""
        return Position(self.epoch, self.offset - count)

    def ids(self, count: int) -> list[str]:
        """Return the ids of so many messages, the first of which stands here."""
        epoch, offset = self.epoch, self.offset
        return [f"{epoch}-{each}" for each in range(offset, offset + count)]

    def after(self, count: int) -> Position:
        """Return where one stands after so many more messages."""
        return Position(self.epoch, self.offset + count) if count else self


def parse_ended(text: bytes) -> dict[str, int]:
    """
    Return up to which offset the messages of each epoch that ended are still part of the history.

    A script says at which each ended, the oldest first; a later one may have ended before that,
    where Redis has forgotten more.
    """
    still: dict[str, int] = {}
    least = sys.maxsize
    for each in reversed(text.decode().split()):
        epoch, _, offset = each.rpartition(":")
        least = still[epoch] = min(least, int(offset))
    return still
