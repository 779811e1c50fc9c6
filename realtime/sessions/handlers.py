"""Handlers: call the functions of the routing table that get what is sent to ``/app/...``."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple, NoReturn

from redis import RedisError

from realtime import broker
from realtime.concurrency import Done, InFlight, in_thread
from realtime.conf import conf
from realtime.destinations.names import USER_QUEUE, user_destination
from realtime.messages.body import BAD_BODY, BadBody, as_bad_body, validated
from realtime.messages.message import Message, check, check_content
from realtime.routes.applications import ForwardRoute, SendRoute, SubscribeRoute
from realtime.routes.table import routing_table
from realtime.stomp import StompError

from .publishing import MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES, Publishing
from .session import Session
from .subscriptions import Subscriptions

logger = logging.getLogger(__name__)


class HandlerFailed(Exception):
    """A function of the routing table raised; it has been logged."""


class BodyRefused(HandlerFailed):
    """A body is not what a function takes, and who sent it is still to be told."""

    def __init__(self, destination: str, bad: BadBody) -> None:
        super().__init__(destination)
        self._destination = destination
        self._bad = bad

    def answer(self, receipt: str | None) -> Message:
        """Return what a client with soft errors is told."""
        headers = {"refused": BAD_BODY} | ({} if receipt is None else {"receipt-id": receipt})
        return _what_is_wrong(self._destination, self._bad, headers)


class Call(NamedTuple):
    """A function of the routing table, and what it gets."""

    message: Message
    route: SendRoute | ForwardRoute
    variables: Mapping[str, Any]


class Calls:
    """
    Have functions of the routing table do what a session asks for: in order, and bounded.

    Args:
        session: Who asks.
        subscriptions: What it hears: the replies, too.
        publishing: Knows whether the session has failed: then nothing is called any more.
    """

    def __init__(
        self, session: Session, subscriptions: Subscriptions, publishing: Publishing
    ) -> None:
        self._session = session
        self._subscriptions = subscriptions
        self._publishing = publishing
        self.in_flight = InFlight(MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES)

    def find(self, message: Message) -> Call:
        """
        Return the call for a SEND; from now on the session hears the replies to it.

        Raises:
            DestinationError: If nothing handles the destination.
        """
        route, variables = routing_table().on_send(message.destination)
        reply_to = message.headers.get("reply-to")
        if reply_to is not None:
            address = self._subscriptions.hear_replies(reply_to)
            message = replace(message, headers={**message.headers, "reply-to": address})
        return Call(message, route, variables)

    async def start(self, call: Call, done: Done) -> asyncio.Future[Any]:
        """
        Begin with a call, once that may be; the future ends when it is done.

        It fails with :class:`HandlerFailed` if the function raised, and :class:`redis.RedisError`.
        """
        if self._subscriptions.uncertain or self.in_flight.full or broker.is_busy():
            await self._subscriptions.certain()
            await self.in_flight.ready()
            await broker.ready()
        if self._publishing.closed:
            raise StompError("the session has failed", code="internal-error")
        check_content(call.message)
        self._session.messages_in += 1
        return self.in_flight.start(self._begin(call), done, size=len(call.message.body))

    def answer(self, destination: str) -> Awaitable[Any]:
        """
        Return what awaits the answer to a SUBSCRIBE; that may raise HandlerFailed.

        Raises:
            DestinationError: If nothing answers the destination.
        """
        route, variables = routing_table().on_subscribe(destination)
        return _answer(route, self._session, variables)

    def _begin(self, call: Call) -> Awaitable[Any]:
        if isinstance(call.route, ForwardRoute):
            return call.route.forward(call.message, self._session)
        return _reply(call.route, call.message, self._session, call.variables)


async def _answer(route: SubscribeRoute, session: Session, variables: Mapping[str, Any]) -> Any:
    try:
        return await _call(route.function, session, session, **variables)
    except RedisError:
        raise
    except Exception as error:
        logger.exception(
            "the handler of subscriptions to %(destination)s failed",
            {"destination": route.pattern},
        )
        raise HandlerFailed(route.pattern) from error


async def _reply(
    route: SendRoute, message: Message, session: Session, variables: Mapping[str, Any]
) -> None:
    asked = message.headers.get("reply-to")
    try:
        more = (
            variables
            if route.body is None
            else await _with_data(route, message, session, variables)
        )
        content = await _call(route.function, session, message, session, **more)
        destination = asked or _reply_destination(route.reply_to, session)
        if content is not None and destination is not None:
            await broker.apublish(destination, content)
    except RedisError:
        raise
    except Exception as error:
        if (bad := as_bad_body(error)) is not None:
            await _refuse(message, asked, bad)
        logger.exception(
            "the handler of %(destination)s failed", {"destination": message.destination}
        )
        if asked is not None:
            await _publish(Message(asked, b"", {"error": "internal-error"}))
        raise HandlerFailed(message.destination) from error


async def _with_data(
    route: SendRoute, message: Message, session: Session, variables: Mapping[str, Any]
) -> Mapping[str, Any]:
    """
    Return the variables, and the data of a body.

    Raises:
        BadBody: If the body is not valid.
    """
    assert route.body is not None
    context = {"message": message, "session": session, "variables": variables}
    data = await _on_thread(session, partial(validated, message.body, route.body, context))
    return {**variables, "data": data}


async def _refuse(message: Message, asked: str | None, bad: BadBody) -> NoReturn:
    """Tell who sent a body what is wrong with it, where its answers go, if it has said so."""
    if asked is None:
        raise BodyRefused(message.destination, bad) from bad
    await _publish(_what_is_wrong(asked, bad, {"error": BAD_BODY}))
    raise HandlerFailed(message.destination) from bad


def _what_is_wrong(destination: str, bad: BadBody, headers: Mapping[str, str]) -> Message:
    """Return what is wrong with a body, as a message; in short, if what it quotes can't be said."""
    try:
        told = Message.of(destination, bad.errors, headers)
        check_content(told)
    except ValueError:
        return Message.of(destination, {"detail": str(bad)}, headers)
    return told


def _reply_destination(reply_to: str | None, session: Session) -> str | None:
    if reply_to is None or not reply_to.startswith(USER_QUEUE):
        return reply_to
    return user_destination(reply_to, session.user_name) if session.user_name else None


async def _publish(message: Message) -> None:
    (answer,) = await broker.apublish_many([check(message)])
    if isinstance(answer, BaseException):
        raise answer


@cache
def _threads() -> ThreadPoolExecutor:
    """Return where functions that are not async run: a slow one holds up no login."""
    return ThreadPoolExecutor(conf.STOMP_HANDLER_THREADS, "realtime-handler")


async def _call(
    function: Callable[..., Any], session: Session, *args: Any, **variables: Any
) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(*args, **variables)
    return await _on_thread(session, lambda: function(*args, **variables))


async def _on_thread(session: Session, function: Callable[[], Any]) -> Any:
    async with session.handler_slots:
        return await in_thread(function, threads=_threads())
