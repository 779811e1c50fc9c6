"""Claims: what a JSON Web Token says of who carries it, once it has been verified."""

from __future__ import annotations

import json
import threading
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from realtime.conf import cached_setting, conf

from .key_sets import KeysUnavailable
from .keys import Key
from .settings import JwtSettings, read_settings

__all__ = ["BadToken", "Claims", "KeysUnavailable", "read"]


class BadToken(Exception):
    """A token that is not accepted; ``reason`` says why, in words that do not contain it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Claims:
    """
    What a good token says.

    Args:
        name: Of the user: the claim that ``STOMP_JWT`` names, ``sub`` for one.
        expires: Until when it is accepted, in unix time: its ``exp``, and the leeway.
        claims: All that it says.
    """

    name: str
    expires: float
    claims: Mapping[str, Any]


def read(token: str) -> Claims | None:
    """
    Return what a token says, or None if it is no JSON Web Token, or ``STOMP_JWT`` is not set.

    It may wait for a key server: call it on a thread.

    Raises:
        BadToken: If it is wrong, or not valid here and now.
        KeysUnavailable: If it can't be judged now.
    """
    settings = _settings()
    header = None if settings is None else _header(token)
    if settings is None or header is None:
        return None
    payload = _payload(token, _key(header, settings), settings)
    expires = _time(payload, "exp")
    if settings.max_age is not None and expires - _time(payload, "iat") > settings.max_age:
        raise BadToken("the token is valid for too long")
    return Claims(_name(payload, settings.claim), expires + settings.leeway, payload)


_making: Final = threading.Lock()  # threads share the keys from the first on


def _settings() -> JwtSettings | None:
    with _making:
        return _made_settings()


@cached_setting
def _made_settings() -> JwtSettings | None:
    if conf.STOMP_JWT is None:
        return None
    try:
        return read_settings(conf.STOMP_JWT)
    except ValueError as error:
        raise ImproperlyConfigured(f"STOMP_JWT: {error}") from None


def _header(token: str) -> dict[str, Any] | None:
    """Return the header, unverified, or None if there is none: other tokens have no such thing."""
    first, *others = token.split(".")
    if len(others) != 2 or not token.isascii():
        return None
    try:
        header = json.loads(urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    except (ValueError, RecursionError):
        return None
    return header if isinstance(header, dict) else None


def _key(header: Mapping[str, Any], settings: JwtSettings) -> Key:
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in settings.algorithms:
        raise BadToken("the token is signed by an algorithm that is not accepted")
    if not isinstance(kid, str | None):
        raise BadToken("the token is malformed")
    key = settings.keys.find(kid, algorithm)
    if key is None:
        raise BadToken("the token is signed with an unknown key, or does not fit its kind")
    return key


def _payload(token: str, key: Key, settings: JwtSettings) -> dict[str, Any]:
    import jwt

    required = ["exp"] if settings.max_age is None else ["exp", "iat"]
    try:
        return jwt.decode(
            token,
            key.value,
            algorithms=[key.algorithm],
            audience=settings.audience,
            issuer=settings.issuer,
            leeway=settings.leeway,
            options={"require": required},
        )
    except jwt.PyJWTError as error:
        raise BadToken(_reason(error)) from None


def _reason(error: Exception) -> str:
    import jwt

    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"the token has no {error.claim!r}"
    reasons: dict[type[Exception], str] = {
        jwt.ExpiredSignatureError: "has expired",
        jwt.ImmatureSignatureError: "is not valid yet",
        jwt.InvalidAudienceError: "is for another audience",
        jwt.InvalidIssuerError: "comes from another issuer",
        jwt.InvalidSignatureError: "has a wrong signature",
    }
    return f"the token {reasons.get(type(error), 'is malformed')}"


def _time(payload: Mapping[str, Any], claim: str) -> float:
    try:
        return float(payload[claim])
    except OverflowError:
        raise BadToken(f"the token has an impossible {claim!r}") from None


def _name(payload: Mapping[str, Any], claim: str) -> str:
    """Return the name, which may be a number: the key of an account."""
    name = payload.get(claim)
    if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        raise BadToken(f"the token has no name in {claim!r}")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in str(name)):
        raise BadToken(f"no database knows the name in {claim!r}")
    return str(name)
