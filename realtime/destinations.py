"""
Destinations: the opaque strings that messages are sent to.

===================  ======================================================
``/topic/...``       a topic: every subscriber gets every message
``/app/...``         an application destination: a handler or a bridge gets it
===================  ======================================================
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final

TOPIC: Final = "/topic/"
APPLICATION: Final = "/app/"
PREFIXES: Final = (TOPIC, APPLICATION)
MAX_DESTINATION_BYTES: Final = 255

_CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x1f\x7f]")


class DestinationError(ValueError):
    """A string that is no legal destination; ``code`` is for programs."""

    def __init__(self, message: str, *, code: str = "bad-destination") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


def check_destination(destination: str) -> str:
    """
    Return the destination if it is legal: a known prefix, a name, 255 bytes at most.

    Raises:
        DestinationError: With a message that says what is wrong.
    """
    prefix = next((known for known in PREFIXES if destination.startswith(known)), None)
    if prefix is None:
        raise DestinationError(
            f"unknown destination {destination[:80]!r}: it starts with none of"
            f" {', '.join(PREFIXES)}",
            code="unknown-destination",
        )
    if destination == prefix:
        raise DestinationError(f"the destination {destination!r} has no name after its prefix")
    try:
        size = len(destination.encode())
    except UnicodeEncodeError:
        raise DestinationError("the destination is not valid Unicode") from None
    if size > MAX_DESTINATION_BYTES:
        raise DestinationError(
            f"a destination of more than {MAX_DESTINATION_BYTES} bytes", code="destination-too-long"
        )
    if _CONTROL_CHARACTERS.search(destination):
        raise DestinationError("the destination contains a control character")
    return destination


def check_topic(destination: str) -> str:
    """
    Return the destination if it is a legal topic.

    Raises:
        DestinationError: If it is not.
    """
    check_destination(destination)
    if not destination.startswith(TOPIC):
        raise DestinationError(f"{destination!r} is no topic: it does not start with {TOPIC}")
    if "*" in destination:
        raise DestinationError("the character '*' is reserved for patterns")
    return destination


@lru_cache(maxsize=65536)
def group_name(destination: str) -> str:
    """
    Return the channel-layer group of a destination.

    Group names are ASCII and shorter than 100 characters, destinations are neither: hence
    a hash. The hub compares the destination in the envelope, so a collision delivers nothing.
    """
    return "stomp." + hashlib.sha256(destination.encode()).hexdigest()
