"""
CatchUp: where the history of a destination stands on this process, and what is missing.

::

              a history was read            somebody wants the history,
    NEW ──────────────────────> LIVE        or Redis is ahead
                                 │ ^  ────────────────────────────> CHECKING
                      a gap came │ │  <────────────────────────────    │
                                 v │     it was read, or can't be      │
                               STALLED <───────────────────────────────┘
                                            a gap came

In NEW and STALLED nothing is delivered: what comes is kept until the history has been read, and
follows it. In LIVE and CHECKING the very next message is delivered, what is known already is
dropped, and anything else is a gap. A subscription begins where the others stand.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final

from realtime.counters import counters
from realtime.delivery.frames import SharedFrames
from realtime.history.log import MAX_REPLAY, Log, Lost
from realtime.history.positions import Position
from realtime.messages.message import Message
from realtime.redis.commands import REDIS_ERRORS

from .subscription import Start, Subscription

if TYPE_CHECKING:
    from .feed import Feed

logger = logging.getLogger(__name__)

#: Seconds until a history that could not be read is read again.
RETRY_SECONDS: Final = 0.5

#: What may come while a history is being read; beyond that it is read again.
MAX_EARLY: Final = 1000

#: Reads the newest entries of the destination's history, so many of them.
Read = Callable[[int], Awaitable[Log]]


class Standing(Enum):
    """Where a destination's history stands on this process."""

    NEW = "new"
    LIVE = "live"
    CHECKING = "checking"
    STALLED = "stalled"


#: Which standing may follow which.
FOLLOWS: Final[dict[Standing, frozenset[Standing]]] = {
    Standing.NEW: frozenset({Standing.LIVE, Standing.CHECKING}),
    Standing.LIVE: frozenset({Standing.CHECKING, Standing.STALLED}),
    Standing.CHECKING: frozenset({Standing.LIVE, Standing.CHECKING, Standing.STALLED}),
    Standing.STALLED: frozenset({Standing.LIVE, Standing.CHECKING}),
}

#: In these what is the very next is delivered.
DELIVERING: Final = frozenset({Standing.LIVE, Standing.CHECKING})


class CatchUp:
    """
    Let all subscriptions of a feed hear every message once, and in order.

    Args:
        feed: Who hears.
        size: How many messages Redis keeps.
        read: Reads the history.
    """

    def __init__(self, feed: Feed, size: int, read: Read) -> None:
        self._feed = feed
        self._size = size
        self._read = read
        self.standing = Standing.NEW
        #: Of what was delivered last, unless the standing is NEW.
        self.epoch = ""
        self.offset = 0
        #: The position of the very next message, where that is all there is to know; or None.
        self.expected: str | None = None
        self._log: Log | None = None  # kept up to date once somebody wanted it
        self._replayed: dict[str, SharedFrames] = {}
        self._reading: asyncio.Task[None] | None = None
        self._early: list[tuple[Position, Message]] = []  # what came while it was being read
        self._waiting: dict[Subscription, asyncio.Future[None]] = {}

    @property
    def shown_position(self) -> str | None:
        """Of what was delivered last; None before the first look at the history."""
        return str(self._position) if self.standing is not Standing.NEW else None

    # What comes

    def receive(self, messages: Sequence[Message], first: str) -> Sequence[Message]:
        """Take messages, the first of which stands here; return those that are to be delivered."""
        at = Position.parse(first)
        if at is None:
            return messages
        if self._reading is not None:
            self._keep_early(messages, at)
        if self.standing not in DELIVERING:
            return ()
        known = self.offset + 1 - at.offset if at.epoch == self.epoch else 0
        if known >= len(messages):
            return ()
        if known > 0:
            messages, at = messages[known:], at.after(known)
        if not at.follows(self._position):
            counters.gaps += 1
            self._become(Standing.STALLED)
            self._read_soon()
            return ()
        self._advance(messages, at)
        return messages

    def compare(self, position: Position) -> None:
        """Take note of where Redis stood: what has not come by now is missing, and read."""
        if self.standing not in DELIVERING:
            return
        if position.epoch != self.epoch or position.offset > self.offset:
            counters.gaps += 1
            self._read_soon()

    @property
    def _position(self) -> Position:
        return Position(self.epoch, self.offset)

    def _keep_early(self, messages: Sequence[Message], first: Position) -> None:
        if len(self._early) >= MAX_EARLY:
            self._early.clear()  # what was read does not reach what is left: it is read again
        self._early += [(first.after(number), each) for number, each in enumerate(messages)]

    def _advance(self, messages: Sequence[Message], first: Position) -> None:
        self._stand_at(first.after(len(messages) - 1))
        if self._log is not None:
            for number, message in enumerate(messages):
                self._log.append(first.after(number), message)

    def _stand_at(self, position: Position) -> None:
        self.epoch, self.offset = position.epoch, position.offset
        self._expect()

    def _become(self, standing: Standing) -> None:
        assert standing in FOLLOWS[self.standing], (self.standing, standing)
        self.standing = standing
        self._expect()

    def _expect(self) -> None:
        only_position = self.standing is Standing.LIVE and self._log is None
        self.expected = f"{self.epoch}-{self.offset + 1}" if only_position else None

    # Who begins

    async def begin(self, subscription: Subscription) -> None:
        """
        Let a subscription begin, once it is known where.

        Raises:
            redis.RedisError: If the history can't be read.
        """
        if self.standing in DELIVERING and self._knows_enough(subscription):
            self._begin(subscription)
            return
        waiting = self._waiting[subscription] = asyncio.get_running_loop().create_future()
        self._read_soon()
        await waiting

    def discard(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        waiting = self._waiting.pop(subscription, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()

    def _knows_enough(self, subscription: Subscription) -> bool:
        """
        Return whether what is known here decides how a subscription begins: a client that comes
        from another process may have heard there what has not come here yet.
        """
        if not subscription.wants_history:
            return True
        resume = subscription.resume
        return self._log is not None and (resume is None or self._log.covers(resume))

    def _begin(self, subscription: Subscription) -> None:
        start, missed = self._start_of(subscription)
        self._feed.hear(subscription)
        subscription.begin(start, [self._frames(each) for each in missed])

    def _start_of(self, subscription: Subscription) -> tuple[Start, Sequence[Message]]:
        """Return where a subscription starts, and what it missed."""
        log, resume = self._log, subscription.resume
        if log is None or not subscription.wants_history:
            return Start(self._position), ()
        try:
            missed = log.since(resume) if resume is not None else log.newest(subscription.replay)
        except Lost as lost:
            counters.resumes[lost.reason] += 1
            return Start(self._position, False, lost.reason), ()
        recovered = None
        if resume is not None:
            recovered = True
            counters.resumes["whole"] += 1
        return Start(self._position.before(len(missed)), recovered), missed

    def _frames(self, message: Message) -> SharedFrames:
        """Return the frames of a message from the log; many want the same."""
        if len(self._replayed) > MAX_REPLAY:
            self._replayed.clear()
        shared = self._replayed.get(message.id)
        if shared is None:
            shared = self._replayed[message.id] = SharedFrames(message)
        return shared

    # Reading

    def _read_soon(self) -> None:
        if self._reading is None:
            self._early.clear()
            if self.standing is Standing.LIVE:
                self._become(Standing.CHECKING)
            self._reading = asyncio.create_task(self._read_history())

    async def _read_history(self) -> None:
        try:
            while self._feed.members:
                asked = frozenset(self._waiting)
                try:
                    log = await self._read(self._wanted())
                except REDIS_ERRORS as error:
                    self._refuse(error)
                    if self.standing in DELIVERING:
                        return
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    if self._go_on_from(log, asked):
                        return
        except Exception as error:
            logger.exception("a history could not be read")
            self._refuse(error)
        finally:
            self._reading = None
            if self.standing is Standing.CHECKING:
                self._become(Standing.LIVE)

    def _wanted(self) -> int:
        """Return how many entries to read: none if only the position counts."""
        wanted = self.standing is not Standing.NEW or any(
            subscription.wants_history for subscription in self._waiting
        )
        return self._size if wanted else 0

    def _refuse(self, error: BaseException) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(error)

    def _go_on_from(self, log: Log, asked: frozenset[Subscription]) -> bool:
        """
        Go on from what was read, for those who asked before that; return False if something newer
        is missing again, or somebody needs it who came since.
        """
        if not self._append_early(log):
            return False
        if self.standing is not Standing.NEW:
            self._deliver_missing(log)
        self._replayed.clear()
        if self._log is not None or any(each.wants_history for each in asked):
            self._log = log  # somebody may ask for it again; nobody else reads entries
        self._become(Standing.CHECKING)
        self._stand_at(log.position)
        self._begin_waiting(asked)
        return not self._waiting

    def _append_early(self, log: Log) -> bool:
        early, self._early = self._early, []
        for position, message in early:
            known = position.epoch == log.position.epoch and position.offset <= log.position.offset
            if not known and not log.append(position, message):
                return False
        return True

    def _deliver_missing(self, log: Log) -> None:
        here = self._position
        try:
            missing = log.since(here) if here != log.position else []
        except Lost as lost:
            counters.lost += 1
            missing = log.left(here)
            position = log.position.before(len(missing))
            for subscription in self._feed.hearing():
                subscription.lost(position, lost.reason)
        for message in missing:
            self._feed.deliver([message])

    def _begin_waiting(self, asked: frozenset[Subscription]) -> None:
        for subscription in tuple(self._waiting):
            if subscription not in asked and not self._knows_enough(subscription):
                continue  # for the next reading
            future = self._waiting.pop(subscription, None)
            if future is not None and not future.done():
                self._begin(subscription)
                future.set_result(None)
