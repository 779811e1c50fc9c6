"""Pattern: what stands for many topics, in subscriptions and in the routing table."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from .groups import GROUP, readable_name
from .names import RESERVED, TOPIC, USER, DestinationError, check_pattern, check_published

_ANY_SEGMENT: Final = "[^/]+"
_REST: Final = "(?:/.+)?"


class Pattern:
    """
    A topic, or a pattern of topics: ``*`` is one segment, ``**`` at the end any number of them.

    Get one from :func:`pattern_of`, which checks it.
    """

    __slots__ = ("_match", "_stem", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._stem = text.removesuffix("/**")
        rest = _REST if self._stem != text else ""
        parts = _ANY_SEGMENT.join(map(re.escape, self._stem.split("*")))
        self._match = re.compile(parts + rest, re.DOTALL).fullmatch

    def matches(self, destination: str) -> bool:
        """Return whether this stands for a destination."""
        return self._match(destination) is not None and self._may_stand_for(destination)

    def covers(self, destination: str) -> bool:
        """
        Return whether this stands for a destination; for a pattern, whether it stands for all that
        the pattern does.
        """
        ours, theirs = self.text.split("/"), destination.split("/")
        if ours[-1] == "**":
            ours = ours[:-1]
            theirs = theirs[: len(ours)]
        if len(ours) != len(theirs) or "**" in theirs or not self._may_stand_for(destination):
            return False
        return all(our in ("*", their) for our, their in zip(ours, theirs, strict=True))

    def _may_stand_for(self, destination: str) -> bool:
        return RESERVED not in destination or RESERVED in self.text

    @property
    def glob(self) -> str:
        """
        The glob-style pattern of the groups of all destinations that this stands for. It also
        matches others, since ``*`` does not stop at a dot.
        """
        parts = [readable_name(f"/{part}").removeprefix(f"{GROUP}.") for part in self._parts]
        return GROUP + "*".join(parts) + ("*" if self._stem != self.text else "")

    @property
    def _parts(self) -> list[str]:
        return self._stem.split("*")


@lru_cache(maxsize=4096)
def pattern_of(text: str) -> Pattern:
    """
    Return the pattern that a text is: of topics, or of users' destinations; without ``*`` it
    stands for one of them.

    Raises:
        DestinationError: If it is neither.
    """
    if "*" not in text:
        return Pattern(check_published(text))
    if not check_pattern(text).startswith((TOPIC, USER)):
        raise DestinationError(f"{text!r} is not a pattern of topics, or of users' destinations")
    return Pattern(text)
