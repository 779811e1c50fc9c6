from __future__ import annotations

import re
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.destinations.groups import group_name, mark_of, marks_of, readable_name
from realtime.destinations.names import (
    DestinationError,
    check_destination,
    check_pattern,
    check_topic,
)
from realtime.destinations.patterns import pattern_of


@pytest.mark.parametrize(
    "destination", ["/topic/toast", "/topic/a/b.c", "/topic/ /\u20ac", "/topic/" + "x" * 248]
)
def test_a_topic_is_any_name_after_its_prefix(destination: str) -> None:
    assert check_topic(destination) == destination


@pytest.mark.parametrize(
    ("destination", "code"),
    [
        ("", "unknown-destination"),
        ("toast", "unknown-destination"),
        ("/queue/a", "unknown-destination"),
        ("/Topic/a", "unknown-destination"),
        ("/topic", "unknown-destination"),
        ("/topic/", "bad-destination"),
        ("/app/", "bad-destination"),
        ("/topic/a\n", "bad-destination"),
        ("/topic/\x00", "bad-destination"),
        ("/topic/\ud800", "bad-destination"),
        ("/topic/" + "x" * 249, "destination-too-long"),
        ("/topic/" + "\u20ac" * 83, "destination-too-long"),
    ],
)
def test_what_is_no_destination_is_refused_with_a_code(destination: str, code: str) -> None:
    with pytest.raises(DestinationError) as refused:
        check_destination(destination)
    assert refused.value.code == code


def test_an_unknown_prefix_is_answered_with_the_known_ones() -> None:
    with pytest.raises(DestinationError, match="/topic/, /app/"):
        check_destination("/exchange/a")


@pytest.mark.parametrize("destination", ["/app/greet", "/topic/*", "/topic/a/**"])
def test_what_is_no_topic_can_not_be_published_to(destination: str) -> None:
    with pytest.raises(DestinationError):
        check_topic(destination)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_group_name_is_what_channels_allows(destination: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9\-_.]{1,99}", group_name(destination), re.ASCII)


def test_destinations_do_not_share_groups() -> None:
    names = {group_name(f"/topic/{number}") for number in range(1000)}
    assert len(names) == 1000


@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))
def test_readable_names_are_legal_groups_and_differ_where_destinations_do(
    one: str, other: str
) -> None:
    names = [readable_name(f"/topic/{each}") for each in (one, other)]
    assert all(re.fullmatch(r"stomp\.topic\.[A-Za-z0-9_.-]+", name) for name in names)
    assert (names[0] == names[1]) == (one == other)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("/topic/*", ["/topic/a", "/topic/a.b"], ["/topic/a/b", "/topic/"]),
        ("/topic/**", ["/topic/a", "/topic/a/b/c"], ["/user/a", "/topicx"]),
        ("/topic/a/*/c", ["/topic/a/b/c"], ["/topic/a/c", "/topic/a/b/c/d", "/topic/a/b/b/c"]),
        ("/topic/a/**", ["/topic/a", "/topic/a/b", "/topic/a/b/c"], ["/topic/ab", "/topic/b/a"]),
        ("/topic/*/b/**", ["/topic/a/b", "/topic/a/b/c"], ["/topic/b", "/topic/a/c/b"]),
        ("/topic/a.b/*", ["/topic/a.b/c"], ["/topic/axb/c"]),
        ("/topic/1/2/3/4/5/6/*", ["/topic/1/2/3/4/5/6/7"], ["/topic/1/2/3/4/5/7/7"]),
        ("/topic/1/2/3/4/**", ["/topic/1/2/3/4", "/topic/1/2/3/4/5"], ["/topic/1/2/3"]),
        ("/topic/a//*", ["/topic/a//b"], ["/topic/a/b"]),
    ],
)
def test_a_pattern_stands_for_these_topics_and_its_glob_for_all_of_them(
    pattern: str, matching: list[str], others: list[str]
) -> None:
    assert check_pattern(pattern) == pattern
    for destination in matching:
        assert pattern_of(pattern).matches(destination)
        assert fnmatchcase(readable_name(destination), pattern_of(pattern).glob)
        assert mark_of(pattern_of(pattern).glob) in marks_of(readable_name(destination))
        assert pattern_of(pattern).covers(destination)
    for destination in others:
        assert not pattern_of(pattern).matches(destination)


@pytest.mark.parametrize("pattern", ["/topic/a*", "/topic/**/b", "/topic/a/***", "/topic/*b/c"])
def test_a_star_that_is_no_whole_segment_makes_no_pattern(pattern: str) -> None:
    with pytest.raises(DestinationError) as caught:
        check_pattern(pattern)
    assert caught.value.code == "bad-pattern"


@pytest.mark.parametrize(
    ("rule", "pattern", "covered"),
    [
        ("/topic/**", "/topic/**", True),
        ("/topic/**", "/topic/a/*", True),
        ("/topic/a/**", "/topic/a/*", True),
        ("/topic/a/**", "/topic/**", False),
        ("/topic/a/**", "/topic/*/b", False),
        ("/topic/a/*", "/topic/a/*", True),
        ("/topic/a/*", "/topic/a/**", False),
        ("/topic/*/b", "/topic/a/*", False),
        ("/topic/*/b", "/topic/*/b", True),
        ("/topic/*", "/topic/a/b", False),
        ("/topic/a", "/topic/a", True),
        ("/topic/a", "/topic/*", False),
        ("/topic/a", "/topic/b", False),
    ],
)
def test_a_rule_covers_a_pattern_only_if_it_covers_all_that_it_stands_for(
    rule: str, pattern: str, covered: bool
) -> None:
    assert pattern_of(rule).covers(pattern) is covered
