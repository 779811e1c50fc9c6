"""Idempotency: keys by which a message that is sent again is published once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: The header of a SEND, and of a request, as STOMP and as HTTP writes it.
IDEMPOTENCY_KEY: Final = "idempotency-key"
HTTP_IDEMPOTENCY_KEY: Final = "Idempotency-Key"

MAX_KEY_CHARACTERS: Final = 255

#: For so long a key is known; what comes with it again is not published again.
KEY_SECONDS: Final = 300


def key_in(headers: Mapping[str, str]) -> str | None:
    """Return the key among the headers of a message, written as STOMP or as HTTP does it."""
    return headers.get(IDEMPOTENCY_KEY, headers.get(HTTP_IDEMPOTENCY_KEY))


def key_of_user(user_name: str, key: str) -> str:
    """
    Return :attr:`.Message.idempotency_key` for the key that a user chose; those who are not logged
    in have the empty name, and share their keys.

    Raises:
        ValueError: If the key is empty or too long.
    """
    return _scoped("user", user_name, key)


def key_of_route(route: str, key: str) -> str:
    """
    Return the same for a key that came by a route of the bridges.

    Raises:
        ValueError: If the key is empty or too long.
    """
    return _scoped("route", route, key)


def _scoped(kind: str, owner: str, key: str) -> str:
    if not 0 < len(key) <= MAX_KEY_CHARACTERS:
        raise ValueError(
            f"an {IDEMPOTENCY_KEY} has 1 to {MAX_KEY_CHARACTERS} characters, not {len(key)}"
        )
    # The length tells where the owner ends, whatever characters it has.
    return f"{kind}:{len(owner)}:{owner}:{key}"
