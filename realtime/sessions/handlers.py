"""
Application destinations: functions that answer what clients send to ``/app/...``.

They are entries of the routing table::

    routes = [
        on_send("/app/orders/{id}", change_order),
        on_subscribe("/app/settings", current_settings),
    ]

    def change_order(message: Message, session: Session, id: str) -> Any: ...
    def current_settings(session: Session) -> Any: ...

A function may be async or not. What it returns, unless None, is the reply: any content that
:meth:`realtime.messages.message.Message.of` takes.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from django.conf import settings
from redis import RedisError

from realtime import broker
from realtime.concurrency import in_thread
from realtime.destinations.names import APPLICATION, USER_QUEUE, DestinationError, user_destination
from realtime.messages.message import Message
from realtime.routes.table import load_routes

from .session import Session

logger = logging.getLogger(__name__)

_VARIABLE: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class ApplicationRoute:
    """
    An entry of the routing table: what happens at an application destination.

    Args:
        pattern: The destination; each ``{variable}`` stands for one segment of it.
        send: Called at a SEND with the message, the session and the variables; its work is
            done when what it returns has been awaited. Calls come in the session's order.
        subscribe: Called at a SUBSCRIBE with the session and the variables; returns the
            content of the one answer, or None for none.
    """

    pattern: str
    send: Callable[..., Awaitable[Any]] | None = None
    subscribe: Callable[..., Awaitable[Any]] | None = None

    def __post_init__(self) -> None:
        if not self.pattern.startswith(APPLICATION):
            raise ValueError(f"{self.pattern!r} does not start with {APPLICATION}")

    def match(self, destination: str) -> dict[str, str] | None:
        """Return the variables if the destination is one of this route's, otherwise None."""
        match = _compile(self.pattern).fullmatch(destination)
        return match.groupdict() if match is not None else None


def on_send(
    pattern: str, function: Callable[..., Any], *, reply_to: str | None = None
) -> ApplicationRoute:
    """
    Call ``function(message, session, **variables)`` for what clients send.

    What it returns goes to the ``reply-to`` of the SEND; without one to ``reply_to``, a topic or
    ``/user/queue/NAME`` for the sender's user; with neither it is dropped. An exception is
    logged and answered with an empty reply that has the header ``error``; the session
    goes on, without a RECEIPT for that frame. Calls of one session begin in its order, and may
    end in another.
    """

    async def send(message: Message, session: Session, **variables: str) -> None:
        asked = message.headers.get("reply-to")
        try:
            content = await _call(function, message, session, **variables)
            destination = asked or _reply_destination(reply_to, session)
            if content is not None and destination is not None:
                await broker.send(Message.of(destination, content))
        except RedisError:
            raise
        except Exception as error:
            logger.exception("the handler of %s failed", message.destination)
            if asked is not None:
                await broker.send(Message(asked, b"", {"error": "internal-error"}))
            raise HandlerFailed(message.destination) from error

    return ApplicationRoute(pattern, send=send)


def on_subscribe(pattern: str, function: Callable[..., Any]) -> ApplicationRoute:
    """
    Answer a SUBSCRIBE to an application destination once, directly and to nobody else, with
    what ``function(session, **variables)`` returns.
    """

    async def subscribe(session: Session, **variables: str) -> Any:
        try:
            return await _call(function, session, **variables)
        except RedisError:
            raise
        except Exception as error:
            logger.exception("the handler of subscriptions to %s failed", pattern)
            raise HandlerFailed(pattern) from error

    return ApplicationRoute(pattern, subscribe=subscribe)


class HandlerFailed(Exception):
    """A function of the routing table raised; it has been logged."""


def find_sender(destination: str) -> tuple[Callable[..., Awaitable[Any]], dict[str, str]]:
    """
    Return who gets what is sent to an application destination, and the variables.

    Raises:
        DestinationError: If nobody does.
    """
    for route in _routes():
        if route.send is not None and (variables := route.match(destination)) is not None:
            return route.send, variables
    raise _nobody(destination)


def find_subscriber(destination: str) -> tuple[Callable[..., Awaitable[Any]], dict[str, str]]:
    """
    Return who answers a SUBSCRIBE to an application destination, and the variables.

    Raises:
        DestinationError: If nobody does.
    """
    for route in _routes():
        if route.subscribe is not None and (variables := route.match(destination)) is not None:
            return route.subscribe, variables
    raise _nobody(destination)


def _routes() -> Iterable[ApplicationRoute]:
    return (route for route in load_routes() if isinstance(route, ApplicationRoute))


def _nobody(destination: str) -> DestinationError:
    return DestinationError(
        f"nothing handles {destination!r}: see {settings.STOMP_ROUTING}", code="unknown-destination"
    )


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    parts = _VARIABLE.split(pattern)  # text, name, text, name, ..., text
    return re.compile(
        "".join(
            f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part)
            for index, part in enumerate(parts)
        )
    )


def _reply_destination(reply_to: str | None, session: Session) -> str | None:
    if reply_to is None or not reply_to.startswith(USER_QUEUE):
        return reply_to
    return user_destination(reply_to, session.user_name) if session.user_name else None


@cache
def _threads() -> ThreadPoolExecutor:
    """Return where functions that are not async run: a slow one holds up no login."""
    return ThreadPoolExecutor(settings.STOMP_HANDLER_THREADS, "realtime-handler")


async def _call(function: Callable[..., Any], *args: Any, **variables: str) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(*args, **variables)
    session: Session = next(each for each in args if isinstance(each, Session))
    async with session.handler_slots:
        return await in_thread(lambda: function(*args, **variables), threads=_threads())
