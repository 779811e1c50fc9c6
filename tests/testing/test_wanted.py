"""How what is wanted is compared with what there is."""

from __future__ import annotations

from datetime import date
from typing import Any
from unittest.mock import ANY

import pytest

from realtime.messages import Message
from realtime.testing.wanted import Wanted, shown


@pytest.mark.parametrize(
    ("published", "wanted", "alike"),
    [
        ("text", "text", True),
        ("text", "other", False),
        (b"\xff", b"\xff", True),
        (b"\xff", {"no": "JSON"}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {"a": ANY}, True),
        ({"a": 1}, {"b": ANY}, False),
        ({"day": date(2026, 11, 1)}, {"day": date(2026, 11, 1)}, True),
        ({"day": date(2026, 11, 1)}, {"day": "2026-11-01"}, True),
        ({"day": date(2026, 11, 1)}, {"day": date(2026, 11, 2)}, False),
        ([1, 2], [1, 2], True),
        (None, None, True),
        (None, ANY, True),
        (None, 0, False),
    ],
)
def test_messages_are_compared_by_what_they_say(published: Any, wanted: Any, alike: bool) -> None:
    assert Wanted("/topic/a", wanted).is_like(Message.of("/topic/a", published)) is alike


def test_destination_and_headers_have_to_be_there_too() -> None:
    message = Message.of("/topic/a", "text", {"kind": "news", "more": "of it"})
    assert Wanted(headers={"kind": "news"}).is_like(message)
    assert Wanted("/topic/a", headers={"kind": ANY}).is_like(message)
    assert not Wanted("/topic/b").is_like(message)
    assert not Wanted(headers={"kind": "old"}).is_like(message)
    assert not Wanted(headers={"missing": ANY}).is_like(message)


def test_messages_are_shown_in_short_lines() -> None:
    text = shown([Message.of("/topic/a", "x" * 1000), Message.of("/topic/b", b"\xff")])
    assert [len(line) <= 200 for line in text.splitlines()] == [True, True]
    assert shown([]).strip() == "nothing"
