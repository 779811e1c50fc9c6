"""What one session sends: begun in the order in which it came, not awaited, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import Any, Final

from django.conf import settings

from realtime import broker
from realtime.destinations.names import APPLICATION, check_published
from realtime.messages.idempotency import IDEMPOTENCY_KEY, key_in, once_of_user
from realtime.messages.message import PROTOCOL_HEADERS, Checked, Message, check, check_content
from realtime.redis.commands import MAX_JOINED_BYTES
from realtime.stomp import SECRET_HEADERS, ProtocolError, StompError, events

from .handlers import HandlerFailed, find_sender
from .in_flight import Done, Work
from .session import Session
from .subscriptions import Subscriptions

#: How many SENDs of one session may be under way, to handlers and to all else, when the next is
#: begun, or those that were read with it; it waits, and the client with it.
MAX_IN_FLIGHT: Final = 500
MAX_IN_FLIGHT_BYTES: Final = 1024 * 1024

#: Headers of a SEND that are between client and server, not part of the message.
_NOT_FORWARDED: Final = frozenset(PROTOCOL_HEADERS | {"login", IDEMPOTENCY_KEY} | SECRET_HEADERS)


#: Called with the ``receipt`` of a SEND that is done, and its error, or None.
Sent = Callable[[str | None, BaseException | None], None]


class Sends:
    """
    Hand what a client sends to the broker, or to a function of the routing table.

    What it publishes is collected, and begun together by :meth:`begin`.

    Args:
        session: Who sends.
        subscriptions: What it hears: the replies to what it sends, too.
        heard: Called with the future of a subscription to replies that has ended.
        sent: Called with what becomes of each SEND that was started.
    """

    def __init__(
        self, session: Session, subscriptions: Subscriptions, heard: Done, sent: Sent
    ) -> None:
        self._session = session
        self._subscriptions = subscriptions
        self._heard = heard
        self._sent = sent
        #: Set when the session has failed: nothing is begun any more.
        self.closed = False
        #: SUBSCRIBEs that are not certain yet: who subscribes, then publishes, expects to hear it.
        self.subscribing = Work(settings.STOMP_MAX_SUBSCRIPTIONS)
        #: What functions of the routing table are at, and what the broker is.
        self.handling = Work(MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES)
        self._publishing = Work(MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES)
        #: What is to be published, with receipts.
        self._collected: list[tuple[Checked, str | None]] = []
        self._collected_bytes = 0

    def message(self, event: events.Send) -> Message:
        """
        Return what a SEND publishes; what can be wrong with its destination is found here.

        Raises:
            StompError, DestinationError: If it can't be sent.
        """
        headers = {name: value for name, value in event.headers.items() if _is_forwarded(name)}
        if event.destination.startswith(APPLICATION):
            find_sender(event.destination)
            if "reply-to" in headers:
                headers["reply-to"] = self._hear_replies(headers["reply-to"])
        else:
            check_published(event.destination)
        return Message(event.destination, event.body, headers, once=self._once(event))

    def start(self, message: Message, receipt: str | None) -> Awaitable[Any] | None:
        """
        Collect a message, or begin with it; return what has to be awaited before the next one, if
        anything.
        """
        if message.destination.startswith(APPLICATION):
            return self._start_handler(message, partial(self.handled, receipt))
        checked = check(message)
        self._collected.append((checked, receipt))
        self._collected_bytes += checked.size
        return self.begin() if self._collected_bytes >= MAX_JOINED_BYTES else None

    def begin(self) -> Awaitable[Any] | None:
        """Begin with what was collected; return what has to be awaited first, if anything."""
        if not self._collected:
            return None
        if self._must_wait(self._publishing):
            return self._begin_later()
        self._begin()
        return None

    async def publish(self, message: Message) -> asyncio.Future[Any]:
        """Begin with a message alone, once that may be; the future ends when it is done."""
        if message.destination.startswith(APPLICATION):
            await self._room(self.handling)
            return self._handle(message)
        await self._room(self._publishing)
        self._check_open()
        self._session.messages_in += 1
        return self._publishing.start(broker.start([check(message)]), len(message.body))

    def handled(self, receipt: str | None, future: asyncio.Future[Any]) -> None:
        """Take note that work of :attr:`handling` has ended; its frame asked for this receipt."""
        if not future.cancelled():
            self._sent(receipt, future.exception())

    async def ended(self) -> None:
        """Return when nothing that was under way is so any more."""
        for work in (self.subscribing, self._publishing, self.handling):
            await work.ended()

    def _once(self, event: events.Send) -> str | None:
        key = key_in(event.headers)
        try:
            return None if key is None else once_of_user(self._session.user_name, key)
        except ValueError as error:
            raise ProtocolError(str(error), code="bad-header") from None

    def _hear_replies(self, reply_to: str) -> str:
        address, heard = self._subscriptions.hear_replies(reply_to)
        if heard is not None:
            self.subscribing.start(heard, done=self._heard)
        return address

    def _must_wait(self, work: Work) -> bool:
        return bool(self.subscribing) or work.full or broker.busy()

    async def _room(self, work: Work) -> None:
        if self.subscribing:
            await self.subscribing.ended()
        await work.room()
        await broker.room()

    def _check_open(self) -> None:
        if self.closed:
            raise StompError("the session has failed", code="internal-error")

    # What is published

    async def _begin_later(self) -> None:
        await self._room(self._publishing)
        self._begin()

    def _begin(self) -> None:
        collected, size = self._collected, self._collected_bytes
        self._collected, self._collected_bytes = [], 0
        if self.closed:
            return
        self._session.messages_in += len(collected)
        messages = [each for each, _ in collected]
        done = partial(self._published, [receipt for _, receipt in collected])
        begun = broker.start_each(messages)
        self._publishing.start(begun, size, done, count=len(messages))

    def _published(self, receipts: list[str | None], future: asyncio.Future[list[Any]]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        answers = [error] * len(receipts) if error is not None else future.result()
        for receipt, answer in zip(receipts, answers, strict=True):
            self._sent(receipt, answer if isinstance(answer, BaseException) else None)

    # What functions of the routing table get

    def _start_handler(self, message: Message, done: Done) -> Awaitable[Any] | None:
        if self._collected or self._must_wait(self.handling):
            return self._start_handler_later(message, done)
        self._handle(message, done)
        return None

    async def _start_handler_later(self, message: Message, done: Done) -> None:
        if (wait := self.begin()) is not None:
            await wait
        await self._room(self.handling)
        self._handle(message, done)

    def _handle(self, message: Message, done: Done | None = None) -> asyncio.Future[Any]:
        self._check_open()
        self._session.messages_in += 1
        check_content(message)
        handle, variables = find_sender(message.destination)
        begun = handle(message, self._session, **variables)
        return self.handling.start(begun, len(message.body), done)


async def all_done(work: list[asyncio.Future[Any]]) -> None:
    """Wait for all; raise the error that matters most, if any: a handler's own matters least."""
    results = await asyncio.gather(*work, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in sorted(errors, key=lambda error: isinstance(error, HandlerFailed)):
        raise error


@lru_cache(maxsize=1024)
def _is_forwarded(name: str) -> bool:
    return name.lower() not in _NOT_FORWARDED
