from __future__ import annotations

import json
from typing import Any

import pytest

from notifications.bridges import to_channel
from notifications.bridges.formats import as_json_string, unwrap


@pytest.mark.parametrize(
    ("payload", "content"),
    [
        (b'"Test Message from Backend PubSub"', "Test Message from Backend PubSub"),
        (b'  "spaced" ', "spaced"),
        (b'"\\u20ac \\" \\n"', '\u20ac " \n'),
        (b"plain text", "plain text"),
        (b'{"a": 1}', '{"a": 1}'),
        (b"12", "12"),
        (b"null", "null"),
        (b'"unfinished', '"unfinished'),
        (b'"two" "strings"', '"two" "strings"'),
        (b'"lone \\ud800 surrogate"', '"lone \\ud800 surrogate"'),
        (b"", ""),
        (b"\xff\xfe", b"\xff\xfe"),
        (b" " + b"[" * 100_000, " " + "[" * 100_000),
    ],
)
def test_a_json_string_is_unwrapped_and_anything_else_goes_through(
    payload: bytes, content: Any
) -> None:
    assert unwrap(payload) == content


@pytest.mark.parametrize(
    ("body", "text"),
    [(b"hello", "hello"), ("\u20ac".encode(), "\u20ac"), (b'"\n', '"\n'), (b"", "")],
)
def test_what_goes_out_is_a_json_string(body: bytes, text: str) -> None:
    assert json.loads(as_json_string(body)) == text


def test_hello_goes_out_as_the_reference_has_it() -> None:
    assert as_json_string(b"hello") == '"hello"'


def test_a_body_that_is_not_utf_8_still_goes_out_as_json() -> None:
    assert json.loads(as_json_string(b"a\xffb")) == "a\ufffdb"


def test_only_application_destinations_lead_out() -> None:
    with pytest.raises(ValueError, match="/app/"):
        to_channel("/topic/greet", "CHANNEL")
