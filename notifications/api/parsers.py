"""Parsers: JSON that services send, read value by value; and which bodies can be read at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import IO, Any, Final

from django.utils.http import parse_header_parameters
from rest_framework.exceptions import ParseError, UnsupportedMediaType, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser, JSONParser
from rest_framework.request import Request
from rest_framework.utils.json import strict_constant

from realtime.conf import conf

from .errors import TooLarge

#: How many messages a list has at most.
MAX_ITEMS: Final = 1000

#: JSON of a message may be so many times as long as its body at most, for escapes and white space,
#: and so much longer, for its topic and headers.
_TIMES_BODY: Final = 8
_MORE: Final = 64 * 1024

#: An error so near to where a piece was cut may be due to that: an escape has six characters.
_CUT: Final = 8

#: Characters of a Content-Type.
MAX_CONTENT_TYPE: Final = 512

#: What is said of bodies whose text is something else.
NOT_UTF8: Final = "text has to be UTF-8: leave the charset out of Content-Type, or let it be utf-8"

_blank: Final = re.compile(r"[ \t\n\r]*")
_decode: Final = json.JSONDecoder(parse_constant=strict_constant).raw_decode


@lru_cache(maxsize=256)
def is_utf8(content_type: str) -> bool:
    """
    Return whether text is UTF-8 by its Content-Type, as it is without a charset.

    There is no other: Django would take any codec of Python for a charset, and that of punycode
    takes seconds for some hundred kilobytes. To take a long header apart takes long, too.
    """
    if len(content_type) > MAX_CONTENT_TYPE:
        return False
    try:
        kind, parameters = parse_header_parameters(content_type)
    except ValueError:  # a parameter has an encoding that is none
        return False
    charset = parameters.get("charset", "utf-8").strip().lower()
    return charset == "utf-8" or (charset == "utf8" and kind == "application/json")


class ReadableBody(DefaultContentNegotiation):
    """DRF's choice of a parser, which says so of bodies that none can read."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        coding = request.META.get("HTTP_CONTENT_ENCODING", "identity")
        if coding.strip().lower() not in ("", "identity"):
            detail = f"bodies are read without a Content-Encoding, not with {coding[:40]!r}"
            raise UnsupportedMediaType("", detail)
        if not request.content_type:
            detail = "a body needs a Content-Type, as in Content-Type: application/json"
            raise UnsupportedMediaType("", detail)
        if not is_utf8(request.content_type):
            raise UnsupportedMediaType("", NOT_UTF8)
        return super().select_parser(request, parsers)


class BoundedJSONParser(JSONParser):
    """
    Reads what a request brings: a value, or a list of them.

    Python reads a value without a break, and no other thread runs meanwhile, nor the event loop: 4
    MB of small lists take 0.1 s, and as long to be let go of. So a list is read message by message,
    and what is too long, or has too many, is refused before it is read whole.
    """

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        return read_json(stream.read())


def read_json(body: bytes) -> Any:
    """
    Return the value, or the list of them, that a body has.

    Raises:
        ParseError, ValidationError, TooLarge: If it is not good.
    """
    try:
        text = body.decode()
        if text.startswith("\ufeff"):
            raise ValueError("it begins with a byte order mark")
        return _read(text, longest=_TIMES_BODY * conf.max_body_bytes + _MORE)
    except ValueError as error:
        raise ParseError(f"JSON parse error - {error}") from None


def _read(text: str, longest: int) -> Any:
    pieces = _Pieces(text, longest)
    start = _skip(text, 0)
    if text[start : start + 1] == "[":
        value, end = _read_list(pieces, start + 1)
    else:
        value, end = pieces.value(start)
    if (end := _skip(text, end)) != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


def _read_list(pieces: _Pieces, at: int) -> tuple[list[Any], int]:
    text = pieces.text
    items: list[Any] = []
    at = _skip(text, at)
    if text[at : at + 1] == "]":
        return items, at + 1
    while True:
        if len(items) == MAX_ITEMS:
            error = f"a list has 1 to {MAX_ITEMS} messages, not more"
            raise ValidationError({"non_field_errors": [error]})
        value, at = pieces.value(at)
        items.append(value)
        at = _skip(text, at)
        if text[at : at + 1] == "]":
            return items, at + 1
        if text[at : at + 1] != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        at = _skip(text, at + 1)


class _Pieces:
    """
    A text, of which values are read that are not longer than so many characters. Pieces of it are
    twice as long, so that few are made.
    """

    def __init__(self, text: str, longest: int) -> None:
        self.text = text
        self._longest = longest
        self._start = 0
        self._piece = text[: 2 * longest]

    def value(self, at: int) -> tuple[Any, int]:
        """
        Return the value that begins here, and where it ends.

        Raises:
            JSONDecodeError: If there is none.
            TooLarge: If it is too long.
        """
        if at + self._longest > self._start + len(self._piece):
            self._start, self._piece = at, self.text[at : at + 2 * self._longest]
        try:
            value, end = _decode(self._piece, at - self._start)
        except json.JSONDecodeError as error:
            if self._is_cut(error):
                raise self._too_large() from None
            raise json.JSONDecodeError(error.msg, self.text, self._start + error.pos) from None
        if (end := self._start + end) - at > self._longest:
            raise self._too_large()
        return value, end

    def _is_cut(self, error: json.JSONDecodeError) -> bool:
        if self._start + len(self._piece) == len(self.text):
            return False
        return error.msg.startswith("Unterminated") or error.pos >= len(self._piece) - _CUT

    def _too_large(self) -> TooLarge:
        return TooLarge(f"a message is over {self._longest} characters of JSON")


def _skip(text: str, at: int) -> int:
    """Return where the white space ends."""
    end: int = _blank.match(text, at).end()  # type: ignore[union-attr]  # it may be empty
    return end
