"""
What has to be true of every client in the end.

**Redis** is a line of runs. Each starts from what one of the runs before left: everything (killed,
but each write is on the disk before it is answered), what an older copy of its folder holds, or
nothing. In a run, a topic has at most one epoch, which begins where the state that the run started
from ended. So the epochs of a topic form a tree: each has a parent, a position in an earlier
epoch, or none. The harness looks into the folder of each run that died (and into each copy that is
put in its place) to learn which epoch there was, where it ended and what it held.

**A position is whole** in an epoch if it is on its way: on the line from the epoch to its first
ancestor, no further than where that line left the position's own epoch. An epoch that is not on
that line says nothing: a copy does not know of epochs that began after it was made, even though
the same messages may have been in them.

Where nothing was published Redis has no epoch; who stands there, stands before the first message of
any epoch that began from nothing in the same data, which its stem says.

**A client** has a position: of its last message, or from which it was told that it goes on.

* Each message has the next offset, in an epoch in which the position is whole.
* ``recovered:true``: the position is whole in the epoch of the answer, and stays where it is.
* ``recovered:false``: it is not whole there; or more than ``MAX_REPLAY`` messages were missed. Who
  stays may be told a bit early: a gateway that reads the history when nothing is missing stands at
  the same place in the new epoch, which an older copy does not know. And nobody is told so by
  somebody who stands in an epoch from before the client's own.
  Who resumed without a receipt, and is told so before the first message, may have been refused
  in any epoch since.
* One place holds one message, whatever epoch it was said to be in, for every client, every
  publisher and Redis itself. As offsets have no gaps, everybody has everything that was there.
* The numbers of a topic's messages only grow for a client: nothing comes twice, nor late. Only what
  a publisher got an error for may come late, or never.
* What was acknowledged has been in Redis.
* In the end, everybody stands at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from realtime.history.log import MAX_REPLAY
from realtime.history.positions import Position

#: What happened to a client, if it is more than the next message in the same epoch.
Kind = Literal["message", "resumed", "refused", "lost", "untold"]


#: So many characters of an epoch say which topic of which data it is of, and so many have those of
#: topics to which nothing was published.
STEM = 8
NOTHING = 12


def of_nothing(epoch: str) -> bool:
    """Return whether nothing had been published to who was told this epoch."""
    return len(epoch) == NOTHING


@dataclass(frozen=True)
class Step:
    """
    A client's way from one position to another.

    Args:
        kind: A message that does not simply follow, or ``recovered:true`` (resumed) or ``false``
            to a SUBSCRIBE (refused) or without one (lost), or without one before the answer to a
            SUBSCRIBE that comes with the first message (untold).
        before, after: From where to where.
        reason: As the client was told.
        told: Where it was said, for people.
        at: Seconds since the start.
    """

    kind: Kind
    before: Position
    after: Position
    reason: str
    told: str
    at: float

    def __str__(self) -> str:
        return f"{self.at:.2f} s, {self.told}: {self.kind} {self.before} -> {self.after}" + (
            f" ({self.reason})" if self.reason else ""
        )


@dataclass
class Topic:
    """What is known of one topic."""

    name: str
    #: The epochs, in their order, and after which position each began.
    parents: dict[str, Position | None] = field(default_factory=dict)
    #: Where Redis stands, or where it stood when it was last looked at.
    position: Position | None = None
    #: Which message each place holds, by its position as text, as everybody says.
    numbers: dict[str, int] = field(default_factory=dict)
    acknowledged: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    anomalies: list[str] = field(default_factory=list)

    def found(self, state: Position | None, held: dict[str, int], since: str) -> None:
        """Note what a run of Redis holds that started from :attr:`position`."""
        if state is not None and state.epoch not in self.parents:
            self.parents[state.epoch] = self.position
        self.position = state
        for place, number in held.items():
            self.holds(place, number, since)

    def holds(self, place: str, number: int, who: str) -> None:
        """Note which message is at a place."""
        known = self.numbers.setdefault(place, number)
        if known != number:
            self.anomalies.append(f"{who}: {number} is at {place}, where {known} was")

    def whole(self, position: Position, epoch: str) -> bool:
        """Return whether a position is on the way to an epoch."""
        if of_nothing(position.epoch):
            return position.epoch[:STEM] == self._first(epoch)[:STEM]
        end: float = math.inf
        here: str | None = epoch
        while here is not None and here != position.epoch:
            parent = self.parents.get(here)
            here = parent.epoch if parent is not None else None
            end = min(end, parent.offset) if parent is not None else end
        return here is not None and position.offset <= end

    def _first(self, epoch: str) -> str:
        """Return the first ancestor of an epoch."""
        while (parent := self.parents.get(epoch)) is not None:
            epoch = parent.epoch
        return epoch

    def first_name(self, position: Position) -> Position:
        """Return the name of a place in the epoch that came there first."""
        parent = self.parents.get(position.epoch)
        while parent is not None and position.offset <= parent.offset:
            position = Position(parent.epoch, position.offset)
            parent = self.parents.get(position.epoch)
        return position

    def renamed(self, position: Position) -> Iterator[Position]:
        """Return a position by its names in all epochs that began right there."""
        yield position
        for epoch, parent in self.parents.items():
            begins_there = parent is not None and parent.offset == position.offset
            if begins_there and self.whole(position, epoch):
                yield Position(epoch, position.offset)

    def fault(self, step: Step) -> str | None:
        """Return what is wrong with a step, if anything."""
        named = {step.before.epoch, step.after.epoch}
        unknown = {each for each in named - set(self.parents) if not of_nothing(each)}
        if unknown:
            return f"Redis never had the epochs {unknown}"
        whole = self.whole(step.before, step.after.epoch)
        if step.kind in ("message", "resumed"):
            expected = step.before.offset + (step.kind == "message")
            if step.after.offset != expected:
                return f"the offset should be {expected}"
            return None if whole else "told nothing, though messages are lost"
        if step.after.offset - step.before.offset > MAX_REPLAY or not whole:
            return self._fault_of_refusing(step)
        if step.kind == "refused" or not self._may_be_told_early(step):
            return "refused though everything is there"
        return None

    def _fault_of_refusing(self, step: Step) -> str | None:
        epochs = list(self.parents)
        if not {step.before.epoch, step.after.epoch} <= set(epochs):
            return None  # nobody can say which nothing was first
        behind = epochs.index(step.after.epoch) < epochs.index(step.before.epoch)
        return "refused by who is behind" if behind else None

    def _may_be_told_early(self, step: Step) -> bool:
        if not all(self.whole(name, step.after.epoch) for name in self.renamed(step.before)):
            return True
        epochs = list(self.parents)
        if not {step.before.epoch, step.after.epoch} <= set(epochs):
            return False
        since = epochs[epochs.index(step.before.epoch) : epochs.index(step.after.epoch)]
        return step.kind == "untold" and not all(self.whole(step.before, each) for each in since)

    def faults(self) -> Iterator[str]:
        """Return what is wrong with the places of messages."""
        yield from self.anomalies
        places: dict[str, int] = {}
        for place, number in self.numbers.items():
            position = Position.parse(place)
            assert position is not None
            known = places.setdefault(str(self.first_name(position)), number)
            if known != number:
                yield f"{number} is at {place}, where {known} was in another epoch"
        missing = self.acknowledged.difference(self.numbers.values())
        if missing:
            yield f"acknowledged, but never there: {sorted(missing)}"
