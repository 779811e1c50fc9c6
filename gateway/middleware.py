"""Middleware: static files, and what is answered while the database is away."""

from __future__ import annotations

from typing import Any, Final

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils.deprecation import MiddlewareMixin
from servestatic.middleware import ServeStaticMiddleware

from realtime.access.limits import is_outage, outage

#: The middleware of the gateway's own settings. It does with one answer to a plain POST what it
#: does with the next, so that the API has a short way; what is not here switches that off.
OF_THE_GATEWAY: Final = frozenset(
    {
        "gateway.headers.security_headers",
        "django.middleware.security.SecurityMiddleware",
        "gateway.middleware.StaticFilesMiddleware",
        "corsheaders.middleware.CorsMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "gateway.middleware.DatabaseAwayMiddleware",
    }
)


class StaticFilesMiddleware(ServeStaticMiddleware):
    """servestatic's, which can't be called from synchronous code: the API goes without it."""

    sync_capable = True

    def __init__(self, get_response: Any) -> None:
        if not iscoroutinefunction(get_response):
            raise MiddlewareNotUsed("the stack is synchronous")
        super().__init__(get_response)


#: Seconds, for Retry-After.
RETRY_SECONDS: Final = 2


class DatabaseAwayMiddleware(MiddlewareMixin):
    """Answers 503 where a view, or its page, needs a database that is away: no fault of ours."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not is_outage(exception):
            return None
        outage.refuse(exception)
        headers = {"Retry-After": str(RETRY_SECONDS)}
        if _wants_page(request):
            page = render_to_string("503.html")  # without the request, which may have a user
            return HttpResponse(page, status=503, headers=headers)
        detail = "the database is away: try again."
        return JsonResponse({"detail": detail}, status=503, headers=headers)


def _wants_page(request: HttpRequest) -> bool:
    is_api = request.path.startswith("/api/") or request.path == "/metrics"
    return not is_api or "text/html" in request.headers.get("Accept", "")
