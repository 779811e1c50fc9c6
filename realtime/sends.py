"""What one session sends: begun in the order in which it came, not awaited, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import lru_cache
from typing import Any, Final

from django.conf import settings

from . import broker
from .destinations import APPLICATION, check_published
from .handlers import HandlerFailed, find_sender
from .idempotency import IDEMPOTENCY_KEY, key_in, once_of_user
from .messages import PROTOCOL_HEADERS, Message, check, check_content
from .sessions import Session
from .stomp import SECRET_HEADERS, ProtocolError, StompError, events
from .subscriptions import Subscriptions
from .work import Done, Work

#: How many SENDs of one session may be under way, to handlers and to all else; the next waits,
#: and the client with it.
MAX_IN_FLIGHT: Final = 500
MAX_IN_FLIGHT_BYTES: Final = 1024 * 1024

#: Headers of a SEND that are between client and server, not part of the message.
_NOT_FORWARDED: Final = frozenset(PROTOCOL_HEADERS | {"login", IDEMPOTENCY_KEY} | SECRET_HEADERS)


class Sends:
    """
    Hand what a client sends to the broker, or to a function of the routing table.

    Args:
        session: Who sends.
        subscriptions: What it hears: the replies to what it sends, too.
        heard: Called with the future of a subscription to replies that has ended.
    """

    def __init__(self, session: Session, subscriptions: Subscriptions, heard: Done) -> None:
        self._session = session
        self._subscriptions = subscriptions
        self._heard = heard
        #: Set when the session has failed: nothing is begun any more.
        self.closed = False
        #: SUBSCRIBEs that are not certain yet: who subscribes, then publishes, expects to hear it.
        self.subscribing = Work(settings.STOMP_MAX_SUBSCRIPTIONS)
        #: What functions of the routing table are at, and what the broker is.
        self.handling = Work(MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES)
        self._publishing = Work(MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES)

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

    def start(self, message: Message, done: Done) -> Awaitable[Any] | None:
        """
        Begin with a message; ``done`` is called with its future when that has ended. Return what
        has to be awaited before the next one, if anything.
        """
        if self.subscribing or self._work_for(message).full or broker.busy():
            return self.publish(message, done)
        self._begin(message, done)
        return None

    async def publish(self, message: Message, done: Done | None = None) -> asyncio.Future[Any]:
        """Begin with a message, once that may be; the future ends when it is done."""
        if self.subscribing:
            await self.subscribing.ended()
        await self._work_for(message).room()
        await broker.room()
        return self._begin(message, done)

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

    def _work_for(self, message: Message) -> Work:
        return self.handling if message.destination.startswith(APPLICATION) else self._publishing

    def _begin(self, message: Message, done: Done | None) -> asyncio.Future[Any]:
        if self.closed:
            raise StompError("the session has failed", code="internal-error")
        self._session.messages_in += 1
        work = self._work_for(message)
        begun = self._handle(message) if work is self.handling else broker.start([check(message)])
        return work.start(begun, len(message.body), done)

    def _handle(self, message: Message) -> Awaitable[Any]:
        check_content(message)
        handle, variables = find_sender(message.destination)
        return handle(message, self._session, **variables)


async def all_done(work: list[asyncio.Future[Any]]) -> None:
    """Wait for all; raise the error that matters most, if any: a handler's own matters least."""
    results = await asyncio.gather(*work, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in sorted(errors, key=lambda error: isinstance(error, HandlerFailed)):
        raise error


@lru_cache(maxsize=1024)
def _is_forwarded(name: str) -> bool:
    return name.lower() not in _NOT_FORWARDED
