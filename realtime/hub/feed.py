"""
One destination on this process: who hears it, and where its history stands.

With a history, all subscribers stand at one position. What comes is delivered if it is the very
next; what is known already is dropped; otherwise something is missing, and nothing is
delivered until the history has been read. A subscription begins at such a position, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from realtime.delivery.frames import FrameKey, MessageFrames
from realtime.history.log import MAX_REPLAY, Log, Lost
from realtime.history.positions import Position, Reason
from realtime.messages.message import Message
from realtime.redis import REDIS_ERRORS
from realtime.routes.topics import History

from .subscription import Start, Subscription

logger = logging.getLogger(__name__)

#: Seconds until a history that could not be read is read again.
RETRY_SECONDS: Final = 0.5

#: What may come while a history is being read; beyond that it is read again.
MAX_EARLY: Final = 1000

#: Reads the newest entries of the destination's history, so many of them.
Read = Callable[[int], Awaitable[Log]]


class Topic:
    """
    The local subscriptions of one destination or pattern.

    Args:
        history: How much of it is kept; None for nothing.
        read: Reads its history.
        joined: Ends when Redis confirmed that it is heard.
    """

    def __init__(self, history: History | None, read: Read, joined: asyncio.Task[None]) -> None:
        self.joined = joined
        #: Who subscribed, also those who do not hear yet.
        self.members: dict[Subscription, None] = {}
        self._hearing: dict[FrameKey, dict[Subscription, None]] = {}
        self._history = history
        self._read = read
        self._position: Position | None = None  # of what was delivered last
        self._stalled = history is not None  # something is missing, or nothing known yet
        self._log: Log | None = None
        self._replayed: dict[str, MessageFrames] = {}
        self._reading: asyncio.Task[None] | None = None
        self._early: list[tuple[Position, Message]] = []  # what came while it was being read
        self._waiting: dict[Subscription, asyncio.Future[None]] = {}

    @property
    def kinds(self) -> int:
        """How many different frames a message becomes."""
        return len(self._hearing)

    def add(self, subscription: Subscription) -> None:
        """Take in a subscription; where there is no history it hears at once."""
        self.members[subscription] = None
        if self._history is None:
            self._hear(subscription)

    def discard(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        self.members.pop(subscription, None)
        waiting = self._waiting.pop(subscription, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
        alike = self._hearing.get(subscription.key, {})
        alike.pop(subscription, None)
        if not alike:
            self._hearing.pop(subscription.key, None)

    async def begin(self, subscription: Subscription) -> None:
        """
        Let a subscription begin, now that Redis has confirmed that its destination is heard.

        Raises:
            redis.RedisError: If the history can't be read.
        """
        if self._history is None:
            subscription.begin(Start(), ())
        elif self._stalled or not self._knows_enough(subscription):
            waiting = self._waiting[subscription] = asyncio.get_running_loop().create_future()
            self._read_soon()
            await waiting
        else:
            self._begin(subscription)

    def receive(self, messages: Sequence[Message], first: Position | None) -> int:
        """Deliver messages to all who hear, the first of which stands here; return how often."""
        if first is None or self._history is None:
            return self._deliver(messages)
        if self._reading is not None:
            if len(self._early) >= MAX_EARLY:
                self._early.clear()
            self._early += [(first.after(n), message) for n, message in enumerate(messages)]
        here = self._position
        if self._stalled or here is None:
            return 0
        known = here.offset + 1 - first.offset if first.epoch == here.epoch else 0
        if known >= len(messages):
            return 0
        if known > 0:
            messages, first = messages[known:], first.after(known)
        if not first.follows(here):
            self._stalled = True
            self._read_soon()
            return 0
        self._position = first.after(len(messages) - 1)
        if self._log is not None:
            for number, message in enumerate(messages):
                self._log.append(first.after(number), message)
        return self._deliver(messages)

    def compare(self, position: Position) -> None:
        """Take note of where Redis stood: what has not come by now is missing, and read."""
        here = self._position
        if here is None or self._stalled:
            return
        if position.epoch != here.epoch or position.offset > here.offset:
            self._read_soon()

    def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()

    def _hear(self, subscription: Subscription) -> None:
        self._hearing.setdefault(subscription.key, {})[subscription] = None

    def _deliver(self, messages: Sequence[Message]) -> int:
        frames = MessageFrames(*messages)
        count = 0
        for key, alike in tuple(self._hearing.items()):
            payload = frames.frame_for(key)
            count += len(alike) * len(messages)
            for subscription in tuple(alike):
                subscription.deliver(payload)
        return count

    # Reading

    def _read_soon(self) -> None:
        if self._reading is None:
            self._early.clear()
            self._reading = asyncio.create_task(self._read_history())

    async def _read_history(self) -> None:
        try:
            while self.members:
                asked = frozenset(self._waiting)
                try:
                    log = await self._read(self._wanted())
                except REDIS_ERRORS as error:
                    self._refuse(error)
                    if not self._stalled:
                        return
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    if self._catch_up(log, asked):
                        return
        except Exception as error:
            logger.exception("a history could not be read")
            self._refuse(error)
        finally:
            self._reading = None

    def _wanted(self) -> int:
        """Return how many entries to read: none if only the position counts."""
        assert self._history is not None
        wanted = self._position is not None or any(map(_wants_history, self._waiting))
        return self._history.size if wanted else 0

    def _refuse(self, error: BaseException) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(error)

    def _catch_up(self, log: Log, asked: frozenset[Subscription]) -> bool:
        """
        Go on from what was read, for who asked before that; return False if something newer is
        missing again, or somebody needs it who came since.
        """
        early, self._early = self._early, []
        for position, message in early:
            known = position.epoch == log.position.epoch and position.offset <= log.position.offset
            if not known and not log.append(position, message):
                return False
        if self._position is not None:
            self._deliver_missing(self._position, log)
        self._position = log.position
        self._stalled = False
        self._replayed.clear()
        if self._log is not None or any(map(_wants_history, asked)):
            self._log = log  # somebody may ask for it again; nobody else reads entries
        self._begin_waiting(asked)
        return not self._waiting

    def _deliver_missing(self, position: Position, log: Log) -> None:
        try:
            missing = log.since(position) if position != log.position else []
        except Lost as lost:
            missing = log.left(position)
            self._tell_lost(log.position.before(len(missing)), lost.reason)
        for message in missing:
            self._deliver([message])

    def _tell_lost(self, position: Position, reason: Reason) -> None:
        for subscription in [each for alike in self._hearing.values() for each in alike]:
            subscription.lost(position, reason)

    def _knows_enough(self, subscription: Subscription) -> bool:
        """
        Return whether what is known here decides how a subscription begins: who comes from
        another process may have heard there what has not come here yet.
        """
        if not _wants_history(subscription):
            return True
        resume = subscription.resume
        return self._log is not None and (resume is None or self._log.covers(resume))

    def _begin_waiting(self, asked: frozenset[Subscription]) -> None:
        for subscription in tuple(self._waiting):
            if subscription not in asked and not self._knows_enough(subscription):
                continue  # for the next reading
            future = self._waiting.pop(subscription, None)
            if future is not None and not future.done():
                self._begin(subscription)
                future.set_result(None)

    def _begin(self, subscription: Subscription) -> None:
        assert self._position is not None
        recovered, reason, missed = None, None, []
        if self._log is not None:
            try:
                if subscription.resume is not None:
                    recovered = True
                    missed = self._log.since(subscription.resume)
                elif subscription.replay:
                    missed = self._log.newest(subscription.replay)
            except Lost as lost:
                recovered, reason = False, lost.reason
        before = self._position.before(len(missed))
        self._hear(subscription)
        subscription.begin(
            Start(before, recovered, reason), [self._frames(each) for each in missed]
        )

    def _frames(self, message: Message) -> MessageFrames:
        """Return the frames of a message from the log; many want the same."""
        if len(self._replayed) > MAX_REPLAY:
            self._replayed.clear()
        frames = self._replayed.get(message.id)
        if frames is None:
            frames = self._replayed[message.id] = MessageFrames(message)
        return frames


def _wants_history(subscription: Subscription) -> bool:
    return subscription.resume is not None or subscription.replay > 0
