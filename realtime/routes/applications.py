"""
Application destinations of the routing table: who gets what clients send to ``/app/...``.

A function may be async or not. What it returns, unless None, is the reply: any content that
:meth:`realtime.messages.Message.of` takes. :mod:`realtime.sessions.handlers` calls it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from django.urls.resolvers import RoutePattern

from realtime.destinations.names import (
    APPLICATION,
    USER_QUEUE,
    check_destination,
    check_published,
)

_VARIABLE: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class ApplicationRoute:
    """
    An entry of the routing table: some application destinations.

    Args:
        pattern: As a path of Django's URLs: ``<name>`` or ``{name}`` stands for one segment,
            ``<int:name>`` for a number...

    Raises:
        ValueError: If it is not a pattern of application destinations.
    """

    pattern: str

    def __post_init__(self) -> None:
        if not self.pattern.startswith(APPLICATION):
            raise ValueError(f"{self.pattern!r} does not start with {APPLICATION}")
        self._route.converters  # noqa: B018 (compiles it: what is wrong with it is found here)

    @cached_property
    def _route(self) -> RoutePattern:
        return RoutePattern(_VARIABLE.sub(r"<\1>", self.pattern), is_endpoint=True)

    def match(self, destination: str) -> dict[str, Any] | None:
        """Return the variables if the destination is one of this route's, otherwise None."""
        match = self._route.match(destination)
        return match[2] if match else None


@dataclass(frozen=True)
class SendRoute(ApplicationRoute):
    """
    ``function(message, session, **variables)`` answers what is sent; with ``body``, a serializer of
    Django REST framework, it also gets the ``data`` that this makes of the body.
    """

    function: Callable[..., Any]
    reply_to: str | None = None
    body: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.body is not None and not callable(self.body):
            raise ValueError(f"{self.pattern}: body= takes a class of serializers")
        if self.body is not None and "data" in self._route.converters:
            raise ValueError(f"{self.pattern}: with body=, data is what the serializer makes of it")
        if self.reply_to is not None:
            own = self.reply_to.startswith(USER_QUEUE)
            check_destination(self.reply_to) if own else check_published(self.reply_to)


@dataclass(frozen=True)
class SubscribeRoute(ApplicationRoute):
    """``function(session, **variables)`` answers a SUBSCRIBE, once."""

    function: Callable[..., Any]


@dataclass(frozen=True)
class ForwardRoute(ApplicationRoute):
    """``forward(message, session)`` passes on what is sent; it is done when its result is."""

    forward: Callable[[Any, Any], Awaitable[Any]]


def on_send(
    pattern: str,
    function: Callable[..., Any],
    *,
    reply_to: str | None = None,
    body: Callable[..., Any] | None = None,
) -> SendRoute:
    """
    Call ``function(message, session, **variables)`` for what clients send.

    What it returns goes to the ``reply-to`` of the SEND; without one to ``reply_to``, a topic or
    ``/user/queue/NAME`` for the sender's user; with neither it is dropped. An exception is
    logged and answered with an empty reply that has the header ``error``; the session
    goes on, without a RECEIPT for that frame. Calls of one session begin in its order, and may
    end in another.

    With ``body``, a class of Django REST framework's serializers, bodies are JSON, and it is
    ``function(message, session, data, **variables)``, where ``data`` is what the serializer has
    validated. What is not valid gets to no function: it is answered with ``error:bad-body`` and the
    serializer's errors as JSON. So is :class:`.BadBody`, which ``message.text`` and
    ``message.json()`` raise, and a ``ValidationError`` of Django REST framework. The serializer's
    ``context`` has ``message``, ``session`` and the variables, as ``variables``.

    Raises:
        ValueError: If the pattern, ``reply_to`` or ``body`` is wrong.
    """
    return SendRoute(pattern, function, reply_to, body)


def on_subscribe(pattern: str, function: Callable[..., Any]) -> SubscribeRoute:
    """
    Answer a SUBSCRIBE to an application destination once, directly and to nobody else, with
    what ``function(session, **variables)`` returns.

    Raises:
        ValueError: If the pattern is wrong.
    """
    return SubscribeRoute(pattern, function)
