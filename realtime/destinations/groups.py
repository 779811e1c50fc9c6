"""Groups: the channel-layer group of each destination, by a name that people can read."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final

from .remembered import REMEMBERED

#: The groups of destinations, and those whose readable name would be too long for Channels.
GROUP: Final = "stomp"
HASHED_GROUP: Final = "stomp-hash."
MAX_GROUP_CHARACTERS: Final = 99

#: The most segments of a mark; ``stomp`` and ``topic`` are two.
MARK_SEGMENTS: Final = 6

_UNREADABLE: Final = re.compile(rb"[^A-Za-z0-9\-/]")


@lru_cache(maxsize=REMEMBERED)
def group_name(destination: str) -> str:
    """
    Return the channel-layer group of a destination.

    Group names are ASCII and shorter than 100 characters, destinations are neither: hence
    :func:`readable_name`, and a hash where that is too long. The hub compares the destination
    in the envelope, so a collision delivers nothing.
    """
    name = readable_name(destination)
    if len(name) <= MAX_GROUP_CHARACTERS:
        return name
    return HASHED_GROUP + hashlib.sha256(destination.encode()).hexdigest()


def readable_name(destination: str) -> str:
    """
    Return a name of ASCII letters, digits, ``-``, ``_`` and ``.`` for a destination, and for no
    other: ``/topic/orders/a_b`` is ``stomp.topic.orders.a_5fb``.
    """
    quoted = _UNREADABLE.sub(lambda match: b"_%02x" % match[0][0], destination.encode())
    return GROUP + quoted.decode().replace("/", ".")


def is_hashed(group: str) -> bool:
    """Return whether a group's name is a hash, which says nothing of its destination."""
    return group.startswith(HASHED_GROUP)


def mark_of(glob: str) -> str:
    """
    Return the mark of a glob-style pattern of topics' groups: the segments with which the names of
    all begin, or the first of these. ``stomp.topic.orders.*`` has ``stomp.topic.orders``.
    """
    stem = glob.partition("*")[0].rstrip(".")
    return ".".join(stem.split(".")[:MARK_SEGMENTS])


def marks_of(name: str) -> tuple[str, ...]:
    """Return the marks of all patterns that may stand for a topic's readable name."""
    parts = name.split(".")[:MARK_SEGMENTS]
    return tuple(".".join(parts[:count]) for count in range(2, len(parts) + 1))
