"""Logins: clients of tests that are logged in as a user, without a password."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

from realtime.access.credentials import Credentials, Login
from realtime.conf import conf

_users: Final[dict[str, Any]] = {}


def login_as(user: Any) -> dict[str, str]:
    """Return the headers of a CONNECT that :func:`forced_user` takes for a user's."""
    secret = secrets.token_hex()
    _users[secret] = user
    return {"login": user.get_username(), "passcode": secret}


async def forced_user(credentials: Credentials) -> Login | None:
    """Find the user that a test wants a client to be: an authenticator, without the database."""
    user = _users.get(credentials.passcode)
    return None if user is None else Login(user, "test")


def forced() -> Mapping[str, Any]:
    """Return the settings by which a test may log clients in."""
    own = f"{__name__}.{forced_user.__name__}"
    return {"STOMP_AUTHENTICATORS": [own, *conf.STOMP_AUTHENTICATORS]}


def forget_logins() -> None:
    """Let no CONNECT of before be good any more."""
    _users.clear()
