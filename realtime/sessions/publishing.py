"""Publishing: hand what a session SENDs to the broker, together, in order, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from realtime import broker
from realtime.concurrency import InFlight, nothing
from realtime.layer.publishing import MAX_JOINED_BYTES
from realtime.messages.message import Checked
from realtime.stomp import StompError

from .session import Session
from .subscriptions import Subscriptions

#: How many SENDs of one session may be in flight, to handlers and to all else, when the next is
#: begun, or those that were read with it; it waits, and the client with it.
MAX_IN_FLIGHT: Final = 500
MAX_IN_FLIGHT_BYTES: Final = 1024 * 1024


class Publishing:
    """
    Collect what a client sends at once, and publish it as one batch.

    Args:
        session: The sender.
        subscriptions: What it hears: a client that subscribes, then publishes, expects to hear it.
        receipt: Called with the ``receipt`` of each SEND that is done and asked for one.
        fail: Called with the error of one that failed, and its ``receipt``.
    """

    def __init__(
        self,
        session: Session,
        subscriptions: Subscriptions,
        receipt: Callable[[str], None],
        fail: Callable[[BaseException, str | None], None],
    ) -> None:
        self._session = session
        self._subscriptions = subscriptions
        self._receipt = receipt
        self._fail = fail
        self._in_flight = InFlight(MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES)
        #: What was collected.
        self.batch: list[Checked] = []
        self._receipts: list[str | None] = []
        self._batch_bytes = 0
        #: Set when the session has failed: nothing is published any more.
        self.closed = False

    def add(self, message: Checked, receipt: str | None) -> Awaitable[None] | None:
        """Add a message to the batch; await what is returned, if anything, before the next."""
        self.batch.append(message)
        self._receipts.append(receipt)
        self._batch_bytes += message.size
        return self.publish_batch() if self._batch_bytes >= MAX_JOINED_BYTES else None

    def publish_batch(self) -> Awaitable[None] | None:
        """Begin to publish the batch; await what is returned, if anything, before going on."""
        if not self.batch:
            return None
        if self._subscriptions.uncertain or self._in_flight.full or broker.is_busy():
            return self._publish_later()
        self._publish()
        return None

    async def publish(self, message: Checked) -> asyncio.Future[Any]:
        """Begin to publish a message alone, once that may be; the future ends when it is done."""
        await self.ready()
        if self.closed:
            raise StompError("the session has failed", code="internal-error")
        self._session.messages_in += 1
        return self._in_flight.start(_publish_one(message), look_away, size=message.size)

    async def ready(self) -> None:
        """Return when the next message may be published."""
        await self._subscriptions.certain()
        await self._in_flight.ready()
        await broker.ready()

    def discard(self) -> None:
        """Tell nobody any more what becomes of it: the client is gone."""
        self.closed = True
        self._receipt = self._fail = nothing

    async def ended(self) -> None:
        """Return when nothing is being published any more."""
        await self._in_flight.ended()

    async def _publish_later(self) -> None:
        await self.ready()
        self._publish()

    def _publish(self) -> None:
        batch, receipts, size = self.batch, self._receipts, self._batch_bytes
        self.batch, self._receipts, self._batch_bytes = [], [], 0
        if self.closed:
            return
        count = len(batch)
        self._session.messages_in += count
        done = partial(self._published, receipts)
        self._in_flight.start(
            broker.apublish_many(batch, door="send"), done, size=size, count=count
        )

    def _published(self, receipts: list[str | None], future: asyncio.Future[list[Any]]) -> None:
        error = future.exception()
        answers = future.result() if error is None else [error] * len(receipts)
        for receipt, answer in zip(receipts, answers, strict=True):
            if isinstance(answer, BaseException):
                self._fail(answer, receipt)
            elif receipt is not None:
                self._receipt(receipt)


async def _publish_one(message: Checked) -> None:
    (answer,) = await broker.apublish_many([message], door="send")
    if isinstance(answer, BaseException):
        raise answer


def look_away(future: asyncio.Future[Any]) -> None:
    """Do nothing: whoever has the future looks at it."""
