"""Credentials: what a client brings to show who it is, read in the same way at every door."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qs

from django.conf import settings
from django.http import parse_cookie

from realtime.destinations.patterns import Pattern
from realtime.stomp import AccessDenied
from realtime.stomp.events import Connect

from .addresses import address_of
from .origins import header

#: The schemes of ``authorization`` that name a token, of whatever kind.
_TOKEN_SCHEMES: Final = ("token", "bearer")


@dataclass(frozen=True)
class Credentials:
    """
    What a client brings; None, or nothing, where it brings none of a kind.

    Args:
        address: Where it comes from.
        login, passcode: Of CONNECT.
        authorization: The header, of CONNECT or of the HTTP request.
        ticket: The header ``ticket`` of CONNECT, or ``?ticket=`` of the URL.
        session_key: Of the cookie of Django's login session.
    """

    address: str = ""
    login: str = ""
    passcode: str = field(default="", repr=False)
    authorization: str | None = field(default=None, repr=False)
    ticket: str | None = field(default=None, repr=False)
    session_key: str | None = field(default=None, repr=False)

    @property
    def token(self) -> str | None:
        """
        The token in ``authorization: Bearer TOKEN``, or ``Token TOKEN``.

        Raises:
            AccessDenied: If there is anything else.
        """
        if self.authorization is None:
            return None
        scheme, _, token = self.authorization.strip().partition(" ")
        if scheme.lower() not in _TOKEN_SCHEMES or not token.strip():
            raise AccessDenied(
                "authorization has to be 'Token KEY' or 'Bearer KEY'", code="authentication-failed"
            )
        return token.strip()


#: Logins that a change of the password ends; who has a ticket got it by a login like these.
BY_PASSWORD: Final = ("passcode", "cookie", "ticket")

#: What the audit log says where a ticket is not for a destination.
NOT_OF_TICKET: Final = "the ticket is for other destinations"


@dataclass(frozen=True, eq=False, slots=True)
class Login:
    """
    Whom credentials show, and what has to stay true for that.

    Args:
        user: The Django user.
        how: What showed it: ``passcode``, ``token``, ``jwt``, ``ticket``, ``cookie`` or another.
        proof: What has to be there still: the key of a login session, or the digest of a token.
        until: When it ends, in Unix seconds.
        destinations: All that it is good for, patterns too; empty for whatever the rules allow.
        asked_at: When it was asked for, on the clock of :func:`time.monotonic`: what the database
            says of the user is not older.
    """

    user: Any
    how: str
    proof: str = field(default="", repr=False)
    until: float = float("inf")
    destinations: tuple[str, ...] = ()
    asked_at: float = field(default_factory=time.monotonic, repr=False)
    #: The digest of the user's stored password hash, so that a change can be seen; "" where it ends
    #: nothing.
    password: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        if self.how in BY_PASSWORD:
            object.__setattr__(self, "password", digest(getattr(self.user, "password", "")))

    def renew(self, user: Any) -> None:
        """Take the user as the database has it now: the one of before would be kept by this."""
        object.__setattr__(self, "user", user)

    def is_for(self, destination: str) -> bool:
        """Return whether it is good for a destination, or all that a pattern stands for."""
        patterns = map(Pattern, self.destinations)
        return not self.destinations or any(each.covers(destination) for each in patterns)


def digest(secret: str) -> str:
    """Return what stands for a secret that may not be kept."""
    return sha256(secret.encode()).hexdigest()


def of_connect(scope: dict[str, Any], connect: Connect) -> Credentials:
    """Return what a CONNECT brings, and the HTTP request before it."""
    named = {name.lower(): value for name, value in connect.headers.items()}
    http = of_request(scope)
    return Credentials(
        address=http.address,
        login=connect.login or "",
        passcode=connect.passcode or "",
        authorization=named.get("authorization", http.authorization),
        ticket=named.get("ticket", http.ticket),
        session_key=http.session_key,
    )


def of_request(scope: dict[str, Any]) -> Credentials:
    """Return what an HTTP request brings."""
    cookies = parse_cookie(header(scope, b"cookie") or "")
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return Credentials(
        address=address_of(scope),
        authorization=header(scope, b"authorization"),
        ticket=query.get("ticket", [None])[0],
        session_key=cookies.get(settings.SESSION_COOKIE_NAME) or None,
    )
