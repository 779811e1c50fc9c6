"""Bytes, shown to people."""

from __future__ import annotations

import pytest

from notifications.dead_letters.readable import MAX_INDENTED, Readable, readable


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"", Readable("text", "")),
        ("a\t\u20ac\n".encode(), Readable("text", "a\t\u20ac\n")),
        (b"\0\x1b[31m\r", Readable("text", "\u2400\u241b[31m\u240d")),
        ("a\u202eb\x85".encode(), Readable("text", "a\\u202eb\\u0085")),
        (b'"a string"', Readable("text", '"a string"')),
        (b"12", Readable("text", "12")),
        (b"[unfinished", Readable("text", "[unfinished")),
        (b"[1]", Readable("JSON", "[\n  1\n]", "[1]")),
        (b' {"a": 1e999}', Readable("JSON", '{\n  "a": Infinity\n}', ' {"a": 1e999}')),
        (b'["\\ud800"]', Readable("JSON", '[\n  "\\ud800"\n]', '["\\ud800"]')),
    ],
)
def test_text_and_json_are_shown_as_such(value: bytes, shown: Readable) -> None:
    assert readable(value) == shown
    readable(value).text.encode()  # it can be sent


def test_what_is_not_utf_8_is_shown_as_bytes() -> None:
    assert readable(b"\xff<b>\0" + bytes(range(0x61, 0x6D)) + b"!") == Readable(
        "bytes",
        "000000  ff 3c 62 3e 00 61 62 63 64 65 66 67 68 69 6a 6b  .<b>.abcdefghijk\n"
        "000010  6c 21                                            l!",
    )


def test_half_a_character_at_the_end_of_what_was_cut_does_not_matter() -> None:
    cut = "a\u20ac".encode()[:-1]
    assert readable(cut, is_whole=False) == Readable("text", "a")
    assert readable(cut).kind == "bytes"
    assert readable(b"\xff" + cut, is_whole=False).kind == "bytes"


@pytest.mark.parametrize(
    "value",
    [
        b"[" * 60_000 + b"]" * 4_000,
        b"[" * 800 + b"1," * 30_000 + b"1" + b"]" * 800,
        b"[" + b"9" * 60_000,
    ],
)
def test_json_that_would_be_harder_to_read_is_text(value: bytes) -> None:
    shown = readable(value)
    assert shown.kind == "text"
    assert len(shown.text) < MAX_INDENTED
