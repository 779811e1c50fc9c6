"""Handlers: call the functions of the routing table that get what is sent to ``/app/...``."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

from redis import RedisError

from realtime import broker
from realtime.concurrency import Done, InFlight, in_thread
from realtime.conf import conf
from realtime.destinations.names import USER_QUEUE, user_destination
from realtime.messages.message import Message, check, check_content
from realtime.routes.applications import ForwardRoute, SendRoute, SubscribeRoute
from realtime.routes.table import routing_table
from realtime.stomp import StompError

from .publishing import MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES
from .session import Session
from .subscriptions import Subscriptions

logger = logging.getLogger(__name__)


class HandlerFailed(Exception):
    """A function of the routing table raised; it has been logged."""


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
    """

    def __init__(self, session: Session, subscriptions: Subscriptions) -> None:
        self._session = session
        self._subscriptions = subscriptions
        self.in_flight = InFlight(MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES)
        #: Set when the session has failed: nothing is called any more.
        self.closed = False

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
        if self.closed:
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
        content = await _call(route.function, session, message, session, **variables)
        destination = asked or _reply_destination(route.reply_to, session)
        if content is not None and destination is not None:
            await broker.apublish(destination, content)
    except RedisError:
        raise
    except Exception as error:
        logger.exception(
            "the handler of %(destination)s failed", {"destination": message.destination}
        )
        if asked is not None:
            await _publish(Message(asked, b"", {"error": "internal-error"}))
        raise HandlerFailed(message.destination) from error


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
    async with session.handler_slots:
        return await in_thread(lambda: function(*args, **variables), threads=_threads())
