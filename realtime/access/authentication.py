"""Who may connect, and from where."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate, get_user
from django.http import HttpRequest, parse_cookie
from rest_framework.authtoken.models import Token

from realtime.concurrency import in_thread
from realtime.stomp import AccessDenied
from realtime.stomp.events import Connect

from .origins import header


async def authenticate_session(scope: dict[str, Any], event: Connect) -> Any:
    """
    Return the Django user who connects, or None for an anonymous client.

    In this order: the header ``authorization`` of CONNECT with an API token
    (``Token KEY`` or ``Bearer KEY``), ``login`` and ``passcode``, the login session's cookie.

    Raises:
        AccessDenied: If the credentials are wrong, or missing where they are needed.
    """
    cookies = parse_cookie(header(scope, b"cookie") or "")
    session_key = cookies.get(settings.SESSION_COOKIE_NAME)
    token = event.headers.get("authorization")
    user = None
    if token is not None:
        user = await in_thread(_user_of_token, token)
    elif event.login:  # old clients send an empty one for none
        user = await in_thread(_user_of_login, event.login, event.passcode)
    elif session_key:
        user = await in_thread(_user_of_cookie, session_key)
    if user is None and not settings.STOMP_ANONYMOUS:
        raise AccessDenied(
            "log in: CONNECT needs login and passcode, or authorization with an API token",
            code="login-required",
        )
    return user


def _user_of_token(credentials: str) -> Any:
    key = credentials.split()[-1] if credentials.strip() else ""
    token = Token.objects.select_related("user").filter(key=key).first()
    if token is None or not token.user.is_active:
        raise AccessDenied("no such token", code="authentication-failed")
    return token.user


def _user_of_login(login: str, passcode: str | None) -> Any:
    user = authenticate(username=login, password=passcode or "")
    if user is None:
        raise AccessDenied("wrong login or passcode", code="authentication-failed")
    return user


def _user_of_cookie(session_key: str) -> Any:
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    return user if user.is_authenticated else None
