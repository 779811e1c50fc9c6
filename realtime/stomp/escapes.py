"""Escapes: what stands for characters that a header can't hold."""

from __future__ import annotations

import re
from typing import Final

from .errors import FrameError

# STOMP 1.1 and 1.2, "Value Encoding". 1.0 has no escapes, and CONNECT and CONNECTED
# are exempt in every version, so that clients of any version understand them.
# What a version can't represent becomes a space, or the frame would end there.
_ESCAPES: Final = {
    "1.0": {"\0": " ", "\n": " ", "\r": " "},
    "1.1": {"\0": " ", "\\": "\\\\", "\n": "\\n", ":": "\\c"},
    "1.2": {"\0": " ", "\\": "\\\\", "\n": "\\n", ":": "\\c", "\r": "\\r"},
}
#: What some version escapes.
TO_ESCAPE: Final = re.compile(r"[\0\\\n\r:]")
_ESCAPED: Final = re.compile(r"\\(.?)", re.DOTALL)
_UNESCAPES: Final = {
    "1.1": {"n": "\n", "c": ":", "\\": "\\"},
    "1.2": {"n": "\n", "c": ":", "\\": "\\", "r": "\r"},
}


def escape_name(name: str, version: str) -> str:
    """Escape a header's name as the version demands."""
    if version == "1.0":
        name = name.replace(":", "_")  # 1.0 has no way to write it
    return escape(name, version)


def escape(text: str, version: str) -> str:
    """Escape a header's name or value as the version demands."""
    if not TO_ESCAPE.search(text):
        return text
    table = _ESCAPES[version]
    return TO_ESCAPE.sub(lambda match: table.get(match[0], match[0]), text)


def unescape(text: str, version: str) -> str:
    """
    Undo :func:`escape`.

    Raises:
        FrameError: At an escape that the version does not define.
    """
    if version == "1.0" or "\\" not in text:
        return text
    table = _UNESCAPES[version]

    def replace(match: re.Match[str]) -> str:
        if match[1] not in table:
            raise FrameError(f"undefined escape {match[0]!r} in a header", code="bad-header")
        return table[match[1]]

    return _ESCAPED.sub(replace, text)
