"""Who may connect, and from where."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import authenticate, get_user
from django.http import HttpRequest, parse_cookie
from django.http.request import validate_host
from rest_framework.authtoken.models import Token

from .conf import cached_setting
from .database import in_database
from .stomp import AccessDenied
from .stomp.events import Connect

_DEFAULT_PORTS = {"http": 80, "https": 443}


async def deny(scope: Any, receive: Any, send: Any) -> Any:
    """Refuse a WebSocket: the ASGI application of everything that is not routed."""
    await send({"type": "websocket.close", "code": 1008})


def check_origin(application: Callable[..., Any]) -> Callable[..., Any]:
    """
    Let in who comes from an allowed origin: the middleware of the WebSocket.

    A browser always says its Origin; it has to be the gateway's own or one of
    ``ALLOWED_ORIGINS``. Who sends none is no browser, and free to log in. Cookies count
    from the gateway's own origin only: those of a strange page are not its visitor's will.
    """

    async def checked(scope: dict[str, Any], receive: Any, send: Any) -> Any:
        admitted = admit(scope, header(scope, b"origin"))
        return await (deny if admitted is None else application)(admitted or scope, receive, send)

    return checked


def admit(scope: dict[str, Any], origin: str | None) -> dict[str, Any] | None:
    """
    Return the scope of who comes from an origin, without cookies that don't count; None if it is
    not allowed.
    """
    same = origin is not None and _is_same_origin(origin, header(scope, b"host"))
    if origin is not None and not same and not _is_allowed(origin):
        return None
    if same:
        return scope
    headers = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
    return {**scope, "headers": headers}


def header(scope: dict[str, Any], name: bytes) -> str | None:
    """Return a header of an ASGI scope."""
    value: bytes | None = next((v for n, v in scope["headers"] if n == name), None)
    return value.decode("latin-1") if value is not None else None


def _is_allowed(origin: str) -> bool:
    allowed = settings.ALLOWED_ORIGINS
    return "*" in allowed or origin.rstrip("/").lower() in {
        known.rstrip("/").lower() for known in allowed
    }


def _is_same_origin(origin: str, host: str | None) -> bool:
    """
    Compare host and port; the scheme is the proxy's business and unknown here.

    The host has to be one of ``ALLOWED_HOSTS``: a strange name that was made to lead here (DNS
    rebinding) is not our own origin.
    """
    try:
        parts = urlsplit(origin)
        port = _DEFAULT_PORTS.get(parts.scheme)
        if host is None or port is None or parts.hostname is None:
            return False
        own = urlsplit(f"//{host}")
        if not validate_host(own.hostname or "", settings.ALLOWED_HOSTS or _local_hosts()):
            return False
        return (parts.hostname, parts.port or port) == (own.hostname, own.port or port)
    except ValueError:
        return False


def _local_hosts() -> list[str]:
    """Return what Django allows where ``ALLOWED_HOSTS`` is empty."""
    return [".localhost", "127.0.0.1", "[::1]", "::1"] if settings.DEBUG else []


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
        user = await in_database(_user_of_token, token)
    elif event.login:  # old clients send an empty one for none
        user = await in_database(_user_of_login, event.login, event.passcode)
    elif session_key:
        user = await in_database(_user_of_cookie, session_key)
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


def check_may_send(destination: str) -> None:
    """
    Let a client SEND to the prefixes in ``STOMP_SEND_PREFIXES`` only.

    Raises:
        AccessDenied: For any other destination.
    """
    prefixes = _send_prefixes()
    if not destination.startswith(prefixes):
        raise AccessDenied(
            f"clients may not send to {destination!r}, only to {', '.join(prefixes)}",
            code="send-denied",
        )


@cached_setting
def _send_prefixes() -> tuple[str, ...]:
    return tuple(settings.STOMP_SEND_PREFIXES)
