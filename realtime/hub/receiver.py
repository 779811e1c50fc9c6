"""What came from the channel layer: opened, and delivered so that it holds up nobody."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Sequence
from typing import Any, Final, Protocol

from realtime.delivery.flusher import this_flusher
from realtime.history.positions import Position
from realtime.messages.message import Message, open_envelope

logger = logging.getLogger(__name__)

#: After so many deliveries the outboxes write, and others have their turn.
YIELD_DELIVERIES: Final = 1000


class Deliverer(Protocol):
    """The hub, as the receiver knows it."""

    def deliver(
        self, messages: Sequence[Message], first: Position | None, pattern: str | None
    ) -> int:
        """Deliver messages to one destination; return how often."""

    def kinds(self, destination: str, pattern: str | None) -> int:
        """Return how many different frames each of them becomes."""


class Receiver:
    """Hand to a hub what comes; :meth:`receive` is what a channel layer calls."""

    def __init__(self, hub: Deliverer) -> None:
        self._hub = hub
        self._delivered = 0  # since the outboxes last had their turn

    def receive(
        self, envelopes: Sequence[dict[str, Any]], first: str = "", pattern: str | None = None
    ) -> Awaitable[None] | None:
        """
        Deliver what came together; return what to wait for before the next, if anything.

        Args:
            first: The position of the first message, or "".
            pattern: The glob by which they came, if they came by one.
        """
        at = Position.parse(first) if first else None
        if len(envelopes) == 1:  # a shorter way to the same
            message = open_envelope(envelopes[0], first or None)
            if message is not None:
                return self._deliver((message,), at, pattern)
        ids = at.ids(len(envelopes)) if at is not None else itertools.repeat(None)
        messages = list(map(open_envelope, envelopes, ids))
        readable = [message for message in messages if message is not None]
        alike = len({message.destination for message in readable}) == 1
        if len(readable) == len(messages) and alike:
            return self._deliver(readable, at, pattern)
        self._deliver_one_by_one(envelopes, messages, at, pattern)
        return None

    def _deliver(
        self, messages: Sequence[Message], first: Position | None, pattern: str | None
    ) -> Awaitable[None] | None:
        """Deliver, no more at once than others can wait for; return what to wait for."""
        rest: Sequence[Message] = ()
        if len(messages) > 1:
            kinds = self._hub.kinds(messages[0].destination, pattern)
            step = max(1, YIELD_DELIVERIES // max(1, kinds))
            messages, rest = messages[:step], messages[step:]
        try:
            self._delivered += self._hub.deliver(messages, first, pattern)
        except Exception:  # what goes wrong here must not end the others
            logger.exception("a message could not be delivered")
        if rest:
            later = self._deliver_later(rest, first and first.after(len(messages)), pattern)
            return asyncio.ensure_future(later)
        if self._delivered < YIELD_DELIVERIES:
            return None
        self._delivered = 0
        return this_flusher().flushed()

    async def _deliver_later(
        self, messages: Sequence[Message], first: Position | None, pattern: str | None
    ) -> None:
        self._delivered = 0
        await this_flusher().flushed()
        wait = self._deliver(messages, first, pattern)
        if wait is not None:
            await wait

    def _deliver_one_by_one(
        self,
        envelopes: Sequence[dict[str, Any]],
        messages: Sequence[Message | None],
        first: Position | None,
        pattern: str | None,
    ) -> None:
        """Deliver what can be read; what comes after the rest follows nothing."""
        for number, (envelope, message) in enumerate(zip(envelopes, messages, strict=True)):
            if message is None:
                logger.warning(
                    "skipped a message of type %r, version %r: another release sent it",
                    envelope.get("type"),
                    envelope.get("v"),
                )
            else:
                self._deliver([message], first and first.after(number), pattern)
