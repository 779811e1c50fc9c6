"""Application destinations: who gets what clients send to ``/app/...``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from django.conf import settings

from .broker import Message
from .destinations import APPLICATION, DestinationError
from .sessions import Session

Handler = Callable[[Message, Session], Awaitable[Any]]


@dataclass(frozen=True)
class ApplicationRoute:
    """
    An entry of the routing table: what is sent to ``destination`` goes to ``handler``.

    The handler's work is done when what it returns has been awaited; its first step runs
    in the order in which the session sent.
    """

    destination: str
    handler: Handler

    def __post_init__(self) -> None:
        if not self.destination.startswith(APPLICATION):
            raise ValueError(f"{self.destination!r} does not start with {APPLICATION}")


@cache
def load_routes() -> tuple[Any, ...]:
    """Return the table ``routes`` of the module that ``STOMP_ROUTING`` names."""
    return tuple(import_module(settings.STOMP_ROUTING).routes)


@cache
def _handlers() -> dict[str, Handler]:
    routes = (route for route in load_routes() if isinstance(route, ApplicationRoute))
    return {route.destination: route.handler for route in routes}


def find_handler(destination: str) -> Handler:
    """
    Return who gets what is sent to an application destination.

    Raises:
        DestinationError: If nobody does.
    """
    handler = _handlers().get(destination)
    if handler is None:
        raise DestinationError(
            f"nothing handles {destination!r}: see {settings.STOMP_ROUTING}",
            code="unknown-destination",
        )
    return handler
