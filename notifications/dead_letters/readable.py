"""Bytes, shown to people."""

from __future__ import annotations

import json
from codecs import utf_8_decode
from dataclasses import dataclass
from typing import Final

#: Characters that are not seen, change how others are seen, or can't be sent, and what is shown
#: instead: control characters but tabs and ends of lines, those that set the direction of writing,
#: and halves of others.
_VISIBLE: Final = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"},
    **{code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)},
    **{code: f"\\u{code:04x}" for code in (0x61C, 0x200E, 0x200F, 0xFEFF)},
    **{code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))},
    **{code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)},
}

#: Indentation makes deep JSON much longer; beyond this it is left as it is.
MAX_INDENTED: Final = 1024 * 1024

_ROW: Final = 16


@dataclass(frozen=True, slots=True)
class Readable:
    """
    What some bytes are.

    Args:
        kind: ``JSON``, ``text`` or ``bytes``.
        text: As people read it: JSON indented, bytes in hexadecimal digits.
        original: The text as it came, where ``text`` is another.
    """

    kind: str
    text: str
    original: str | None = None


def readable(value: bytes, *, is_whole: bool = True) -> Readable:
    """Return what some bytes are; unless they are whole, the last character may be cut."""
    try:
        text = utf_8_decode(value, "strict", is_whole)[0]
    except UnicodeDecodeError:
        return Readable("bytes", _dump(value))
    original = text.translate(_VISIBLE)
    indented = _indented(text)
    if indented is None:
        return Readable("text", original)
    return Readable("JSON", indented.translate(_VISIBLE), original)


def _indented(text: str) -> str | None:
    """Return the JSON of an object or a list with a line for each value; None if it is none."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        indented = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    return indented if len(indented) <= MAX_INDENTED else None


def _dump(value: bytes) -> str:
    return "\n".join(
        _row(start, value[start : start + _ROW]) for start in range(0, len(value), _ROW)
    )


def _row(start: int, part: bytes) -> str:
    characters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
    return f"{start:06x}  {part.hex(' '):{3 * _ROW}} {characters}"
