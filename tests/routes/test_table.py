"""The routing table: entries that check themselves, and the answers that they give."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from realtime.destinations.names import DestinationError
from realtime.routes import History, on_send, on_slow_client, on_subscribe, topic
from realtime.routes.applications import ForwardRoute, SendRoute
from realtime.routes.table import Table, routing_table, topic_options


def function(*_: Any, **__: Any) -> None: ...


@pytest.mark.parametrize(
    "pattern",
    ["nonsense", "", "/topic/a*b", "/topic/", "/topic/**/b", "/app/*", "/app/a", "/user/x"],
)
@pytest.mark.parametrize(
    "entry", [History, topic, lambda pattern: on_slow_client(pattern, "latest")]
)
def test_what_is_no_pattern_of_topics_is_refused_when_an_entry_is_made(
    entry: Callable[[str], Any], pattern: str
) -> None:
    with pytest.raises(DestinationError):
        entry(pattern)


@pytest.mark.parametrize("pattern", ["/topic/a", "/topic/*/b", "/topic/**", "/user/*/queue/news"])
def test_topics_and_patterns_of_them_are_taken(pattern: str) -> None:
    assert History(pattern).pattern == topic(pattern).pattern == pattern


def test_what_an_entry_does_not_say_of_a_history_the_settings_say(settings: Any) -> None:
    settings.STOMP_HISTORY_MESSAGES, settings.STOMP_HISTORY_SECONDS = 7, 8
    for entries in ([], [topic("/topic/a")], [History("/topic/a")], [topic("/topic/b", history=1)]):
        history = Table(entries).topic("/topic/a").history
        assert history is not None
        assert (history.size, history.ttl) == (7, 8)
    assert Table([topic("/topic/a", history=None)]).topic("/topic/a").history is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"history": -1},
        {"ttl": 0},
        {"on_gap": "shout"},
        {"slow_clients": "wait"},
    ],
)
def test_wrong_options_of_a_topic_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        topic("/topic/a", **wrong)
    with pytest.raises(ValueError, match="one of close, latest, drop-oldest"):
        on_slow_client("/topic/a", "wait")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "wrong"),
    [
        ("/topic/a", "does not start with /app/"),
        ("app/a", "does not start with /app/"),
        ("/app/<int:>", "valid Python identifier"),
        ("/app/<unheard:a>", "invalid converter"),
    ],
)
@pytest.mark.parametrize("entry", [on_send, on_subscribe])
def test_wrong_application_destinations_are_refused(
    entry: Callable[..., Any], pattern: str, wrong: str
) -> None:
    with pytest.raises(Exception, match=wrong):
        entry(pattern, function)


def test_a_reply_goes_to_what_somebody_can_hear() -> None:
    for good in ("/topic/a", "/user/queue/a", "/user/bob/queue/a"):
        assert on_send("/app/a", function, reply_to=good).reply_to == good
    with pytest.raises(DestinationError):
        on_send("/app/a", function, reply_to="/queue/a")


def test_without_entries_topics_have_a_history_and_nothing_else_has() -> None:
    table = Table(())
    options = table.topic("/topic/a")
    assert options.history is not None
    assert (options.history.size, options.history.ttl, options.history.on_gap) == (100, 300, "tell")
    assert options.slow_clients == "close"
    assert table.topic("/user/bob/queue/a").history is None


def test_the_first_entry_that_covers_a_destination_decides() -> None:
    table = Table(
        [
            on_slow_client("/topic/prices/**", "latest"),
            topic("/topic/prices/gold", history=None, slow_clients="drop-oldest"),
            History("/topic/prices/*", size=7),
            topic("/topic/**", history=5, ttl=9, on_gap="close"),
        ]
    )
    gold, silver, other = map(
        table.topic, ("/topic/prices/gold", "/topic/prices/silver", "/topic/a")
    )
    assert (gold.history, gold.slow_clients) == (None, "latest")
    assert silver.history is not None
    assert (silver.history.size, silver.slow_clients) == (7, "latest")
    assert other.history is not None
    assert (other.history.size, other.history.on_gap, other.slow_clients) == (5, "close", "close")


def test_an_entry_for_a_pattern_counts_for_what_it_covers_wholly() -> None:
    table = Table([History("/topic/a/*", size=1)])
    sizes = [table.topic(name).history for name in ("/topic/a/b", "/topic/a/*", "/topic/a/**")]
    assert [history and history.size for history in sizes] == [1, 1, 100]


def test_variables_are_segments_or_what_a_converter_makes_of_them() -> None:
    table = Table(
        [
            on_send("/app/orders/<int:number>", function),
            on_send("/app/orders/{name}", function),
            on_subscribe("/app/orders/{name}", function),
        ]
    )
    route, variables = table.on_send("/app/orders/12")
    assert (route.pattern, variables) == ("/app/orders/<int:number>", {"number": 12})
    route, variables = table.on_send("/app/orders/a.b (c)")
    assert (route.pattern, variables) == ("/app/orders/{name}", {"name": "a.b (c)"})
    _, variables = table.on_subscribe("/app/orders/12")
    assert variables == {"name": "12"}
    for wrong in ("/app/orders/", "/app/orders/a/b", "/app/order/1"):
        with pytest.raises(DestinationError) as refused:
            table.on_send(wrong)
        assert refused.value.code == "unknown-destination"
    with pytest.raises(DestinationError):
        table.on_subscribe("/app/a")


def test_entries_of_others_are_found_by_their_kind() -> None:
    forward = ForwardRoute("/app/a", forward=function)
    table = Table([forward, on_send("/app/b", function), "something else"])
    assert table.entries(ForwardRoute) == [forward]
    assert [route.pattern for route in table.entries(SendRoute)] == ["/app/b"]
    assert table.on_send("/app/a") == (forward, {})
    assert table.entries(str) == ["something else"]


def test_the_table_is_that_of_the_module_in_the_settings(settings: Any) -> None:
    module = ModuleType("a_routing_table")
    module.routes = [topic("/topic/a", history=3)]  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    settings.STOMP_ROUTING = module.__name__
    history = topic_options("/topic/a").history
    assert history is not None
    assert history.size == 3
    assert routing_table() is routing_table()
    settings.STOMP_ROUTING = ""
    assert routing_table().entries(object) == []
    history = topic_options("/topic/a").history
    assert history is not None
    assert history.size == 100


def test_old_names_of_the_words_are_the_same() -> None:
    from realtime import handlers, history, slow_clients

    assert (handlers.on_send, handlers.on_subscribe) == (on_send, on_subscribe)
    assert slow_clients.on_slow_client is on_slow_client
    assert history.History is History
