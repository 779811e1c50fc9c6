"""Headers: what every answer of Django tells browsers about what its page may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

POLICY: Final = "Content-Security-Policy"
PERMISSIONS: Final = "Permissions-Policy"

#: Django's own pages about errors, which only developers see, have styles and scripts within.
_TECHNICAL: Final = {404, 500}


@sync_and_async_middleware
def security_headers(get_response: Callable[..., Any]) -> Callable[..., Any]:
    """Add the policies of the settings; SecurityMiddleware adds what Django knows itself."""
    headers = {
        POLICY: _text(settings.SECURE_CSP),
        PERMISSIONS: ", ".join(f"{name}=()" for name in settings.PERMISSIONS_DENIED),
    }

    def add(response: HttpResponseBase) -> HttpResponseBase:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        if settings.DEBUG and response.status_code in _TECHNICAL:
            del response.headers[POLICY]
        return response

    async def respond_async(request: Any) -> HttpResponseBase:
        return add(await get_response(request))

    def respond(request: Any) -> HttpResponseBase:
        return add(get_response(request))

    return respond_async if iscoroutinefunction(get_response) else respond


def _text(policy: dict[str, list[str]]) -> str:
    return "; ".join(" ".join([directive, *sources]) for directive, sources in policy.items())
