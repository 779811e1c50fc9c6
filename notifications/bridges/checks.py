"""System checks of the bridges in the routing table."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Final

from django.core import checks

from realtime.destinations.names import DestinationError, check_topic
from realtime.redis import create_pool, without_password
from realtime.routes.applications import ApplicationRoute, SubscribeRoute
from realtime.routes.table import routing_table

from .formats import ADDRESSED, READERS, WRITERS
from .routes import PLACEHOLDER, IncomingRoute, OutgoingRoute, compile_glob

_VARIABLE: Final = re.compile(r"\{\w+\}")


def check_bridges(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E001-E006: what is wrong with the bridges of a routing table that can be loaded."""
    try:
        table = routing_table()
    except Exception:
        return []
    incoming, outgoing = table.entries(IncomingRoute), table.entries(OutgoingRoute)
    return [
        *_check_doubles(incoming),
        *_check_destinations(incoming),
        *_check_formats(incoming, outgoing),
        *_check_urls([*incoming, *outgoing]),
        *_check_patterns(table.entries(ApplicationRoute)),
    ]


def _check_doubles(routes: list[IncomingRoute]) -> Iterator[checks.Error]:
    for route in _repeated(routes, lambda route: route.id):
        yield checks.Error(
            f"there are two routes from {route.id}",
            hint="Consume it into one topic, or publish to both.",
            id="notifications.E001",
        )


def _check_destinations(routes: list[IncomingRoute]) -> Iterator[checks.Error]:
    for route in routes:
        problem = _problem_with(route) if route.to else None
        if problem is not None:
            yield checks.Error(
                f"{route.id} leads to no topic: {problem}",
                hint="to= is /topic/NAME; with from_pattern {1} stands for the first '*'.",
                id="notifications.E002",
            )


def _problem_with(route: IncomingRoute) -> str | None:
    """Return what is wrong with the topic of a route, or its placeholders."""
    filled = PLACEHOLDER.sub("x", route.to)
    try:
        check_topic(filled)
        stars = compile_glob(route.source).groups if route.kind == "pattern" else 0
    except (DestinationError, re.error) as error:
        return str(error)
    if "{" in filled or "}" in filled:
        return f"a brace that is part of no placeholder in {route.to!r}"
    for number in PLACEHOLDER.findall(route.to):
        if not 1 <= int(number) <= stars:
            return f"there is no '*' for {{{number}}} in {route.to!r}"
    return None


def _check_formats(
    incoming: list[IncomingRoute], outgoing: list[OutgoingRoute]
) -> Iterator[checks.Error]:
    for route in incoming:
        known = READERS.keys() - (set() if route.kind == "stream" else {"fields"})
        if route.format not in known:
            yield _unknown_format(route.id, route.format, known)
        elif bool(route.to) == (route.format in ADDRESSED):
            yield _wrong_addressing(route)
    for out in outgoing:
        known = WRITERS.keys() | ({"fields"} if out.kind == "stream" else set())
        if out.format not in known:
            yield _unknown_format(out.pattern, out.format, known)


def _unknown_format(name: str, format: str, known: Iterable[str]) -> checks.Error:
    return checks.Error(
        f"{name} has an unknown format {format!r}",
        hint=f"It may be one of {', '.join(sorted(known))}.",
        id="notifications.E003",
    )


def _wrong_addressing(route: IncomingRoute) -> checks.Error:
    says = "names the destination itself" if route.to else "does not name a destination"
    return checks.Error(
        f"{route.id}: the format {route.format!r} {says}",
        hint="Leave out to=, or choose another format." if route.to else 'Add to="/topic/...".',
        id="notifications.E004",
    )


def _check_urls(routes: Iterable[IncomingRoute | OutgoingRoute]) -> Iterator[checks.Error]:
    for url in dict.fromkeys(route.redis for route in routes if route.redis is not None):
        try:
            create_pool(url)
        except Exception as error:
            yield checks.Error(
                f"{without_password(url)!r} is not the URL of a Redis: {error}",
                hint="As in redis://user:password@host:6379/0; see docs/operations.md.",
                id="notifications.E005",
            )


def _check_patterns(routes: list[ApplicationRoute]) -> Iterator[checks.Error]:
    for subscribing in (False, True):
        answering = [each for each in routes if isinstance(each, SubscribeRoute) is subscribing]
        for route in _repeated(answering, lambda route: _VARIABLE.sub("{}", route.pattern)):
            yield checks.Error(
                f"{route.pattern} is there twice: the first entry gets all",
                hint="Remove one of them from the routing table.",
                id="notifications.E006",
            )


def _repeated(routes: Iterable[Any], key: Callable[[Any], Hashable]) -> Iterator[Any]:
    """Return those whose key an earlier one has."""
    seen: set[Hashable] = set()
    for route in routes:
        if key(route) in seen:
            yield route
        seen.add(key(route))
