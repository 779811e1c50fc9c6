"""Fence: what keeps all but one from publishing for a route."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple


class Fence(NamedTuple):
    """
    Who publishes, where only one at a time may: see :class:`.Fenced`.

    Args:
        route: For what.
        number: Greater than those of all who did before.
        entries: Which of its entries the messages are, one for each: a text greater than those of
            all entries before. What is not greater than the newest one published is not published
            again. Without entries everything is.
        after: Which entry was begun before them for this destination, and may not have been taken.
            If it was not, these are not published, and the answers are :data:`TOO_EARLY`.
    """

    route: str
    number: int
    entries: Sequence[str] = ()
    after: str = ""


#: The answer for an entry that would overtake the one before it.
TOO_EARLY: Final = 0
