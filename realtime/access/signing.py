"""
Signing: a token with which its bearer may use a destination for a while.

A back end that knows who may see what gives it to a page::

    from realtime import sign

    token = sign("/topic/orders/**", user="alice", ttl=600)

Whoever has it may use the destination, or whatever the pattern covers, and nothing else. It is
signed with Django's ``SECRET_KEY``, and good under ``SECRET_KEY_FALLBACKS``; it is not secret what
it says.
"""

from __future__ import annotations

import time
from typing import Any, Final

from django.core.signing import BadSignature, dumps, loads

from realtime.destinations.names import DestinationError
from realtime.destinations.patterns import pattern_of

#: Keeps what is signed here apart from all else that Django signs.
_SALT: Final = "realtime.access.signing"


class NotSigned(Exception):
    """A token that does not let its bearer do this; ``reason`` says why, without the token."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def sign(destination_or_pattern: str, user: str | None = None, ttl: int = 3600) -> str:
    """
    Return a token for a destination, or for all that a pattern covers.

    Args:
        user: The name of the only user for whom it holds; None for whoever has it.
        ttl: For how many seconds it holds.

    Raises:
        ValueError: If nobody can hear the destination, the user has no name, or ``ttl`` is not
            positive.
    """
    pattern = pattern_of(destination_or_pattern).text
    if user == "":
        raise ValueError("the user of a token has a name; None stands for whoever has it")
    if not ttl > 0:
        raise ValueError(f"a token holds for a positive number of seconds, not for {ttl}")
    return dumps([pattern, user, time.time() + ttl], salt=_SALT)


def verify(token: str, destination: str, user_name: str | None) -> float:
    """
    Return until when, in unix time, a token lets a user use a destination or a pattern.

    Raises:
        NotSigned: If it does not.
    """
    signed, user, end = _content(token)
    if time.time() >= end:
        raise NotSigned("the token has expired")
    if user is not None and user != user_name:
        raise NotSigned("the token is for another user")
    if not _grants(signed, destination):
        raise NotSigned("the token is for another destination")
    return float(end)


def _content(token: str) -> list[Any]:
    try:
        content: list[Any] = loads(token, salt=_SALT)
    except (BadSignature, ValueError):  # not even text that can be encoded
        raise NotSigned("the token is not signed here, or damaged") from None
    return content


def _grants(signed: str, destination: str) -> bool:
    """
    Return whether a signed pattern covers a destination, or all that a pattern stands for.

    It has to match it, too: ``*`` stands for a segment, but not for an empty one. And what stands
    before ``**``, for which that pattern stands as well.
    """
    try:
        wanted, pattern = pattern_of(destination).text, pattern_of(signed)
    except DestinationError:
        return False
    matches = pattern.matches(wanted) and pattern.matches(wanted.removesuffix("/**"))
    return matches and pattern.covers(wanted)
