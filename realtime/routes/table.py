"""Table: all entries of the routing table, compiled; it answers what they say of a destination."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any, Final, TypeVar

from django.conf import settings

from realtime.conf import cached_setting, conf
from realtime.destinations.names import (
    PRESENCE,
    RESERVED,
    SYSTEM,
    TOPIC,
    DestinationError,
    is_pattern,
)
from realtime.destinations.patterns import pattern_of

from .applications import ApplicationRoute, ForwardRoute, SendRoute, SubscribeRoute
from .rules import ACTIONS, Rule, anyone, operator
from .topics import History, TopicOptions, TopicRoute

T = TypeVar("T")
Match = tuple[Any, dict[str, Any]]

#: Rules that decide of a destination, each with the variables of its pattern.
Rules = tuple[tuple[Rule, dict[str, str]], ...]

#: The only rule of a table that has none, while ``DEBUG`` is on.
EVERYTHING: Final = Rule("/**", dict.fromkeys(ACTIONS, anyone))

#: Who hears what the gateway says of itself, whatever the table.
OWN_TOPICS: Final = Rule(f"{SYSTEM}**", {"subscribe": operator})

#: Topics of which no entry says how much is kept.
_EVERY_TOPIC: Final = f"{TOPIC}**"


class Table:
    """
    A routing table.

    Args:
        entries: The first that fits counts.
    """

    def __init__(self, entries: Iterable[Any]) -> None:
        self._entries = tuple(entries)
        topics = [_as_topic_route(entry) for entry in self._entries if _is_of_topics(entry)]
        every_topic = TopicRoute(_EVERY_TOPIC, History(_EVERY_TOPIC))
        self._histories = [*(each for each in topics if each.history is not None), every_topic]
        self._slow_clients = [each for each in topics if each.slow_clients is not None]
        self._options: dict[TopicOptions, TopicOptions] = {}
        self._presences = [each for each in topics if each.presence is not None]
        self._senders = self._those_of(SendRoute, ForwardRoute)
        self._subscribers = self._those_of(SubscribeRoute)
        self._rules = self.entries(Rule)
        if not self._rules and settings.DEBUG:
            self._rules = [EVERYTHING]

    def entries(self, kind: type[T]) -> list[T]:
        """Return the entries of one kind, in their order."""
        return [entry for entry in self._entries if isinstance(entry, kind)]

    def topic(self, destination: str) -> TopicOptions:
        """Return the options of a destination, or of a pattern of topics."""
        if RESERVED in destination:
            return TopicOptions(None, "latest")
        kept = _first_that_covers(self._histories, destination)
        slow = _first_that_covers(self._slow_clients, destination)
        history = kept.history if kept is not None else None
        present = _first_that_covers(self._presences, destination)
        options = TopicOptions(
            history if history is not None and history.size > 0 else None,
            (slow is not None and slow.slow_clients) or "close",
            present is not None and bool(present.presence) and not is_pattern(destination),
        )
        return self._options.setdefault(options, options)  # few, for any number of topics

    def rules(self, destination: str) -> Rules:
        """
        Return the rules that decide of a destination, all of which have to allow it: the first that
        covers it, and before that, for a pattern, those that cover a part. Nothing, if none covers
        it: then it is denied.
        """
        if destination.startswith(SYSTEM):
            return ((OWN_TOPICS, {}),)
        if RESERVED in (topic := destination.removesuffix(PRESENCE)):
            return ()
        destination = topic  # who may hear it may hear who is on it
        deciding: list[tuple[Rule, dict[str, str]]] = []
        for rule in self._rules:
            variables = rule.compiled.variables(destination)
            if variables is not None:
                return (*deciding, (rule, variables))
            if is_pattern(destination) and rule.compiled.overlaps(destination):
                deciding.append((rule, {}))
        return ()

    def never_reached(self) -> list[tuple[Rule, Rule]]:
        """
        Return the rules of which each destination is decided by one before, each with that one.
        What lets everybody do everything, while ``DEBUG`` is on, hides no mistake.
        """
        hidden = []
        for number, rule in enumerate(self._rules):
            for earlier in self._rules[:number]:
                permissive = settings.DEBUG and earlier == EVERYTHING
                if not permissive and earlier.compiled.covers(rule.compiled):
                    hidden.append((rule, earlier))
                    break
        return hidden

    def on_send(self, destination: str) -> Match:
        """
        Return the entry for what is sent to an application destination, and the variables.

        Raises:
            DestinationError: If there is none.
        """
        return _match(self._senders, destination)

    def on_subscribe(self, destination: str) -> Match:
        """
        Return the entry for a SUBSCRIBE to an application destination, and the variables.

        Raises:
            DestinationError: If there is none.
        """
        return _match(self._subscribers, destination)

    def _those_of(self, *kinds: type[ApplicationRoute]) -> list[ApplicationRoute]:
        return [entry for entry in self._entries if isinstance(entry, kinds)]


@cached_setting
def routing_table() -> Table:
    """
    Return the table of the module that ``STOMP_ROUTING`` names; it is loaded once.

    Raises:
        Exception: Whatever is wrong with the module; the system check E001 tells.
    """
    module = conf.STOMP_ROUTING
    return Table(import_module(module).routes if module else ())


@cached_setting
def topic_options(destination: str) -> TopicOptions:
    """Return what the routing table says of a destination, or of a pattern of topics."""
    return routing_table().topic(destination)


@cached_setting
def rules_of(destination: str) -> Rules:
    """Return the rules that decide of a destination, or of a pattern of topics."""
    return routing_table().rules(destination)


def _is_of_topics(entry: Any) -> bool:
    return isinstance(entry, History | TopicRoute)


def _as_topic_route(entry: History | TopicRoute) -> TopicRoute:
    return TopicRoute(entry.pattern, entry) if isinstance(entry, History) else entry


def _first_that_covers(routes: Iterable[TopicRoute], destination: str) -> TopicRoute | None:
    return next((each for each in routes if pattern_of(each.pattern).covers(destination)), None)


def _match(routes: Iterable[ApplicationRoute], destination: str) -> Match:
    for route in routes:
        if (variables := route.match(destination)) is not None:
            return route, variables
    raise DestinationError(
        f"nothing handles {destination!r}: see {conf.STOMP_ROUTING or 'STOMP_ROUTING'}",
        code="unknown-destination",
    )
