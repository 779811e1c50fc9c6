from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.destinations import (
    DestinationError,
    check_destination,
    check_topic,
    group_name,
)


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
