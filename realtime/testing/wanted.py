"""Wanted: a message that a test expects, compared by what it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from unittest.mock import ANY

from realtime.messages.body import BadBody
from realtime.messages.message import Message

#: So much of a body is shown, in characters.
_SHOWN: Final = 200


@dataclass(frozen=True)
class Wanted:
    """
    What a message has to be like.

    Args:
        destination: Where; None for anywhere.
        content: Text or bytes, which are the body, or what it says as JSON. ``ANY``, also within
            JSON, is whatever there is.
        headers: Those that it has to have; it may have others.
    """

    destination: str | None = None
    content: Any = field(default_factory=lambda: ANY)  # which has no hash
    headers: Mapping[str, str] = field(default_factory=dict)

    def is_like(self, message: Message) -> bool:
        """Return whether a message is one of these."""
        if self.destination not in (None, message.destination):
            return False
        return self.headers.items() <= message.headers.items() and self._says(message)

    def __str__(self) -> str:
        content = "" if self.content is ANY else f": {self.content!r}"
        headers = f" with {dict(self.headers)}" if self.headers else ""
        return f"{self.destination or 'a message'}{content}{headers}"

    def _says(self, message: Message) -> bool:
        content = self.content
        if content is ANY:
            return True
        if isinstance(content, str | bytes):
            return message.body == (content.encode() if isinstance(content, str) else content)
        try:
            said = message.json()
        except BadBody:
            return False
        return bool(said == content) or _is_sent_as(content, said)


def _is_sent_as(content: Any, said: Any) -> bool:
    """Return whether a content is heard so: dates are texts, for example."""
    try:
        return bool(Message.of("", content).json() == said)
    except (TypeError, ValueError):  # JSON can't say it: ANY is within
        return False


def shown(messages: Iterable[Message]) -> str:
    """Return messages for people, one a line."""
    lines = [f"  {each.destination}: {each.body.decode(errors='replace')}" for each in messages]
    return "\n".join(line[:_SHOWN] for line in lines) or "  nothing"
