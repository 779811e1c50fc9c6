"""JSON that is read value by value: what is read, what is refused, and how early."""

from __future__ import annotations

import json
import random
import time
from io import BytesIO
from typing import Any

import pytest
from rest_framework.exceptions import ParseError, ValidationError

from notifications.api.errors import TooLarge
from notifications.api.parsers import MAX_CONTENT_TYPE, MAX_ITEMS, BoundedJSONParser, is_utf8

BODY = 1000
LONGEST = 8 * BODY + 64 * 1024
MIB = 2**20


@pytest.fixture(autouse=True)
def small_bodies(settings: Any) -> None:
    settings.STOMP_MAX_BODY_BYTES = BODY


def parse(text: str | bytes, **context: Any) -> Any:
    data = text if isinstance(text, bytes) else text.encode()
    return BoundedJSONParser().parse(BytesIO(data), parser_context=context)


@pytest.mark.parametrize(
    "text",
    ['{"a": 1}', ' \n{"a": [1, {"b": null}]}\t', "1", '"ü😀"', "[]", " [ ] ", "[1]", "[ 1 ,\n[2] ]",
     '["a]", "b,", "\\""]', "[[[]]]", "null"],
)  # fmt: skip
def test_it_reads_what_python_reads(text: str) -> None:
    assert parse(text) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "[", "[1", "[1,", "[,]", "[1,]", "[1 2]", "[1]]", "{} {}", '{"a"}', "[NaN]",
     "Infinity", '"\x01"', "tru", "[1]x", "\ufeff[1]", b"\xff", b"[\xff]"],
)  # fmt: skip
def test_what_is_no_json_is_an_error_that_says_so(text: str | bytes) -> None:
    with pytest.raises(ParseError, match="JSON parse error"):
        parse(text)


@pytest.mark.parametrize(
    ("content_type", "utf8"),
    [
        ("", True),
        ("application/json", True),
        ("application/json; charset=UTF-8", True),
        ("application/json;charset=utf8", True),
        ("application/x-www-form-urlencoded; charset=utf8", False),  # Django refuses it too late
        ("application/json; charset=latin-1", False),
        ("multipart/form-data; boundary=b; charset=punycode", False),
        ("multipart/form-data; boundary=b; CHARSET=punycode", False),
        ("multipart/form-data; charset*=utf-8''punycode; boundary=b", False),
        ("application/json; charset=utf-8,multipart/form-data; charset=punycode", False),
        ("application/json; charset=utf-8; charset=punycode", False),
        ("application/json; x*=nonsense''y", False),
        (f"application/json; x={'y' * (MAX_CONTENT_TYPE - 20)}", True),
        (f"application/json; x={'y' * (MAX_CONTENT_TYPE - 19)}", False),
    ],
)
def test_text_is_utf8_and_nothing_else(content_type: str, utf8: bool) -> None:
    assert is_utf8(content_type) == utf8


def test_an_error_says_where_it_is_in_the_whole() -> None:
    messages = [json.dumps("x" * 40_000)] * 6
    text = f"[{','.join(messages)},oops]"
    with pytest.raises(ParseError, match=rf"Expecting value.*\(char {text.index('oops')}\)"):
        parse(text)


def test_any_list_that_is_not_too_long_is_read_as_it_is() -> None:
    chance = random.Random(8)  # noqa: S311  # nothing secret
    for _ in range(20):
        items = [
            {"topic": "/topic/a", "message": '\\"é[]{},' * chance.randrange(LONGEST // 30)}
            for _ in range(chance.randrange(1, 40))
        ]
        text = json.dumps(items, indent=chance.choice([None, 4]))
        assert parse(text) == items


def test_a_list_has_so_many_items_and_none_more() -> None:
    assert parse("[" + ",".join("1" * MAX_ITEMS) + "]") == [1] * MAX_ITEMS
    with pytest.raises(ValidationError, match="1 to 1000 messages"):
        parse("[" + ",".join("1" * (MAX_ITEMS + 1)) + "]")


@pytest.mark.parametrize("form", ["{}", "[{}]", '["a",{}]', "[{},1]"])
def test_a_value_is_so_long_and_no_longer(form: str) -> None:
    at_bound = '"' + "x" * (LONGEST - 2) + '"'
    parse(form.replace("{}", at_bound))
    for value in (
        f'"{at_bound[1:-1]}x"',
        '{"a":[' + "[]," * (2 * LONGEST) + "1]}",
        '"' + "é\\u0000" * LONGEST,
    ):
        with pytest.raises(TooLarge, match=f"over {LONGEST} characters"):
            parse(form.replace("{}", value))


def test_what_is_refused_is_refused_early() -> None:
    wide = "[" + "[]," * (4 * MIB // 3) + "[]]"
    begin = time.thread_time()
    for text in (wide, '{"message": ' + wide):
        with pytest.raises((ValidationError, TooLarge)):
            parse(text)
    seconds = time.thread_time() - begin
    begin = time.thread_time()
    json.loads(wide)
    assert seconds < (time.thread_time() - begin) / 2
