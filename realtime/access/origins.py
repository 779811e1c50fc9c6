"""Origins: from which pages browsers may connect."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from realtime.conf import conf

from .limits import refusals

#: Characters of an origin that are repeated.
MAX_CHARACTERS: Final = 100

_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


async def deny(scope: Any, receive: Any, send: Any, reason: str = "nothing is here") -> Any:
    """
    Refuse a WebSocket: the ASGI application of everything that is not routed.

    Our own server says the reason in the body of its 403; others drop it.
    """
    await send({"type": "websocket.close", "code": 1008, "reason": reason})


def admit(scope: dict[str, Any], origin: str | None) -> dict[str, Any] | None:
    """
    Return the scope of a client that comes from an origin, without cookies that don't count; None
    if the origin is not allowed.

    A browser always says its Origin; it has to be the gateway's own or one of
    ``ALLOWED_ORIGINS``. A client without one is not a browser, and free to log in. Cookies count
    from the gateway's own origin only: those of a strange page are not its visitor's will.
    """
    same = origin is not None and _is_same_origin(origin, header(scope, b"host") or "")
    if origin is not None and not same and not _is_allowed(origin):
        return None
    if same:
        return scope
    headers = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
    return {**scope, "headers": headers}


def refusal(scope: dict[str, Any], origin: str | None) -> str:
    """Return why an origin is refused, and which are allowed; note it in the log."""
    hosts = ", ".join(settings.ALLOWED_HOSTS or _local_hosts()) or "none"
    others = ", ".join(conf.ALLOWED_ORIGINS) or "none"
    text = (
        f"no requests from {(origin or '')[:MAX_CHARACTERS]!r}: allowed are the gateway's own pages"
        f" on ALLOWED_HOSTS ({hosts}), and those from ALLOWED_ORIGINS ({others})"
    )
    refusals.note("foreign-origin", scope.get("client"), text)
    return text


def header(scope: dict[str, Any], name: bytes) -> str | None:
    """Return a header of an ASGI scope."""
    value: bytes | None = next((v for n, v in scope["headers"] if n == name), None)
    return value.decode("latin-1") if value is not None else None


def _is_allowed(origin: str) -> bool:
    allowed = conf.ALLOWED_ORIGINS
    return "*" in allowed or origin.rstrip("/").lower() in {
        known.rstrip("/").lower() for known in allowed
    }


def _is_same_origin(origin: str, host: str) -> bool:
    """
    Compare host and port; the scheme is the proxy's business and unknown here.

    The host has to be one of ``ALLOWED_HOSTS``: a strange name that was made to lead here (DNS
    rebinding) is not our own origin.
    """
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    usual = _DEFAULT_PORTS.get(parts.scheme, "")
    # Django's reading, which keeps the brackets of [::1], as ALLOWED_HOSTS does.
    domain, port = split_domain_port(host)
    if not usual or not validate_host(domain, settings.ALLOWED_HOSTS or _local_hosts()):
        return False
    named, named_port = split_domain_port(parts.netloc)
    return (named, named_port or usual) == (domain, port or usual)


def _local_hosts() -> list[str]:
    """Return what Django allows where ``ALLOWED_HOSTS`` is empty."""
    return [".localhost", "127.0.0.1", "[::1]"] if settings.DEBUG else []
