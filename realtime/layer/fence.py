"""Fence: what keeps all but one process from publishing for a route of the bridges."""

from __future__ import annotations

from typing import Final, NamedTuple


class Fence(NamedTuple):
    """
    Who publishes a message, where only one may at a time: see :class:`.Fenced`.

    Args:
        route: For what.
        token: Greater than those of all owners before.
        entry: Which of the route's entries the message is: a text greater than those of all entries
            before. What is not greater than the newest one published is not published again. ""
            for none.
        after: Which entry was begun before it for this destination, and may not have been taken.
            If it was not, this one is not published, and its answer is :data:`TOO_EARLY`.
    """

    route: str
    token: int
    entry: str = ""
    after: str = ""


#: The answer for an entry that would overtake the one before it.
TOO_EARLY: Final = 0
