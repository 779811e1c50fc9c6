"""Names: the prefixes of destinations, and which destinations are legal."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

from .remembered import REMEMBERED

TOPIC: Final = "/topic/"
APPLICATION: Final = "/app/"
USER: Final = "/user/"
USER_QUEUE: Final = "/user/queue/"
TEMPORARY: Final = "/temp-queue/"
#: What nodes tell each other; no client can name it.
INTERNAL: Final = "/system/"
#: Begins a segment of the gateway's own topics: nobody else publishes there, and no wildcard
#: stands for it.
RESERVED: Final = "/$"
#: Those about the gateway; and about a topic, who is on it, as ``TOPIC/$presence``.
SYSTEM: Final = "/topic/$SYS/"
PRESENCE: Final = "/$presence"
PREFIXES: Final = (TOPIC, APPLICATION, USER, TEMPORARY)
MAX_DESTINATION_BYTES: Final = 255

#: What the name of a user may add to that: 150 characters, as Django takes them, quoted.
MAX_USER_BYTES: Final = 150 * 12

#: Control characters, also those of terminals, ends of lines, and what turns the way of writing.
_CONTROL_CHARACTERS: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)
_USER_DESTINATION: Final = re.compile(r"/user/([^/]+)(/queue/.+)")
_REPLY_ADDRESS: Final = re.compile(r"/temp-queue/[^/]+/.+")


class DestinationError(ValueError):
    """A string that is no legal destination; ``code`` is for programs."""

    def __init__(self, message: str, *, code: str = "bad-destination") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class LoginRequired(DestinationError):
    """A destination of a user's own, and nobody is logged in."""


@lru_cache(maxsize=REMEMBERED)
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
    if size > MAX_DESTINATION_BYTES + (MAX_USER_BYTES if prefix == USER else 0):
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
        raise DestinationError(f"{destination!r} is not a topic: it does not start with {TOPIC}")
    if "*" in destination:
        raise DestinationError("the character '*' is reserved for patterns")
    if RESERVED in destination:
        raise DestinationError(f"{destination!r} is the gateway's own: it begins a segment with $")
    return destination


@lru_cache(maxsize=REMEMBERED)
def check_published(destination: str) -> str:
    """
    Return the destination if messages can be published to it: a topic, all sessions of a
    user, whose name may be quoted or not, or the reply address of one session.

    Raises:
        DestinationError: If they can't.
    """
    check_destination(destination)
    if destination.startswith(TOPIC):
        return check_topic(destination)
    if of_user := _USER_DESTINATION.fullmatch(destination):
        return f"{USER}{_quoted_anew(of_user[1])}{of_user[2]}"
    if _REPLY_ADDRESS.fullmatch(destination):
        return destination
    raise DestinationError(
        f"nobody hears {destination!r}: publish to {TOPIC}NAME, {USER}USER/queue/NAME"
        f" or {TEMPORARY}SESSION/NAME"
    )


def quoted(user_name: str) -> str:
    """Return a user's name as a segment of a destination: quoted as in a URL."""
    return quote(user_name, safe="@.+-_")


def _quoted_anew(name: str) -> str:
    """Return a name in the one spelling that its user hears, however much of it is quoted."""
    try:
        return quoted(unquote(name, errors="strict"))
    except UnicodeDecodeError:
        raise DestinationError(f"{name!r} is no quoted name of a user: nobody hears it") from None


def user_destination(destination: str, user_name: str) -> str:
    """
    Return where messages for a user come, given the user's own ``/user/queue/NAME``.

    A name with characters that mean something in a URL is quoted as there.

    Raises:
        DestinationError: If it is not a user's own destination.
    """
    check_destination(destination)
    name = destination.removeprefix(USER_QUEUE)
    if name == destination or not name:
        raise DestinationError(
            f"{destination!r} can't be subscribed to: name your own as {USER_QUEUE}NAME"
        )
    return check_destination(f"{USER}{quoted(user_name)}/queue/{name}")


def reply_address(destination: str, session_id: str) -> str:
    """
    Return where an answer reaches one session, given its ``reply-to: /temp-queue/NAME``.

    Raises:
        DestinationError: If that is no such destination.
    """
    check_destination(destination)
    if not destination.startswith(TEMPORARY):
        raise DestinationError(f"reply-to has to start with {TEMPORARY}, not as {destination!r}")
    name = destination.removeprefix(TEMPORARY)
    return check_destination(f"{TEMPORARY}{session_id}/{name}")


@lru_cache(maxsize=REMEMBERED)
def heard_destination(destination: str, user_name: str) -> str:
    """
    Return what the hub has to hear for a subscriber to a destination.

    Raises:
        LoginRequired: If only a user who is logged in can hear it.
        DestinationError: If nothing can be heard there.
    """
    if check_destination(destination).startswith(TOPIC):
        return check_pattern(destination) if "*" in destination else destination
    if destination.startswith(TEMPORARY):
        raise DestinationError(
            f"a session is subscribed to {destination!r} by naming it as reply-to of a SEND to"
            f" {APPLICATION}NAME"
        )
    if destination.startswith(USER_QUEUE) and not user_name:
        raise LoginRequired(f"log in to hear {destination!r}", code="login-required")
    return user_destination(destination, user_name)


@lru_cache(maxsize=REMEMBERED)
def is_pattern(destination: str) -> bool:
    """Return whether this is a pattern of topics: with ``*`` or ``**`` as segments."""
    return destination.startswith(TOPIC) and "*" in destination


def check_pattern(pattern: str) -> str:
    """
    Return the pattern if it is one: ``*`` stands for one segment, ``**`` at the end for the rest.

    Raises:
        DestinationError: If a ``*`` stands elsewhere.
    """
    check_destination(pattern)
    *segments, last = pattern.removeprefix(TOPIC).split("/")
    if any("*" in segment and segment != "*" for segment in segments) or (
        "*" in last and last not in ("*", "**")
    ):
        raise DestinationError(
            f"{pattern!r} is not a pattern: * has to be a whole segment, ** the last one",
            code="bad-pattern",
        )
    return pattern
