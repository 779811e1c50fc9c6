"""Authentication: find out which Django user a client is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import authenticate, get_user
from django.http import HttpRequest, parse_cookie
from django.utils.module_loading import import_string

from realtime.concurrency import in_thread
from realtime.conf import cached_setting, conf
from realtime.stomp import AccessDenied
from realtime.stomp.events import Connect

from .origins import header

#: Finds out who connects: see the package.
Authenticator = Callable[[dict[str, Any], Connect], Awaitable[Any]]

#: The schemes of ``authorization`` that name an API token.
_TOKEN_SCHEMES: Final = ("token", "bearer")


async def authenticate_session(scope: dict[str, Any], connect: Connect) -> Any:
    """
    Return the Django user who connects, or None for an anonymous client.

    The authenticators are asked in their order; the first that finds a user decides.

    Raises:
        AccessDenied: If the credentials are wrong, or missing where they are needed.
    """
    for find_user in _authenticators():
        if (user := await find_user(scope, connect)) is not None:
            return user
    if not conf.STOMP_ANONYMOUS:
        raise AccessDenied(
            "log in: CONNECT needs login and passcode, or authorization with an API token",
            code="login-required",
        )
    return None


@cached_setting
def _authenticators() -> tuple[Authenticator, ...]:
    return tuple(map(import_string, conf.STOMP_AUTHENTICATORS))


async def token_user(scope: dict[str, Any], connect: Connect) -> Any:
    """Find the owner of a token of Django REST framework: ``authorization: Token KEY``."""
    credentials = _authorization(connect)
    if credentials is None:
        return None
    scheme, _, key = credentials.strip().partition(" ")
    if scheme.lower() not in _TOKEN_SCHEMES or not key.strip():
        raise AccessDenied(
            "authorization has to be 'Token KEY' or 'Bearer KEY'", code="authentication-failed"
        )
    return await in_thread(_owner_of_token, key.strip())


def _authorization(connect: Connect) -> str | None:
    """Return the header, in whatever case it is written: clients know it from HTTP."""
    headers = connect.headers.items()
    return next((value for name, value in headers if name.lower() == "authorization"), None)


def _owner_of_token(key: str) -> Any:
    from rest_framework.authentication import TokenAuthentication
    from rest_framework.exceptions import AuthenticationFailed

    try:
        user, _ = TokenAuthentication().authenticate_credentials(key)
    except AuthenticationFailed:
        raise AccessDenied("the token is not valid", code="authentication-failed") from None
    return user


async def passcode_user(scope: dict[str, Any], connect: Connect) -> Any:
    """Find the user of ``login`` and ``passcode``; old clients send an empty login for none."""
    if not connect.login:
        return None
    user = await in_thread(_user_of_login, connect.login, connect.passcode)
    if user is None:
        raise AccessDenied("wrong login or passcode", code="authentication-failed")
    return user


def _user_of_login(login: str, passcode: str | None) -> Any:
    return authenticate(username=login, password=passcode or "")


async def cookie_user(scope: dict[str, Any], connect: Connect) -> Any:
    """Find the user of the login session's cookie, unless other credentials were refused."""
    cookies = parse_cookie(header(scope, b"cookie") or "")
    session_key = cookies.get(settings.SESSION_COOKIE_NAME)
    return await in_thread(_user_of_cookie, session_key) if session_key else None


def _user_of_cookie(session_key: str) -> Any:
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    return user if user.is_authenticated else None
