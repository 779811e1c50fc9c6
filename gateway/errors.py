"""Errors: what Django answers by itself, as JSON where services ask."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 400: a foreign host, say, or too many fields."""
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": "the request is wrong: is its host?"}, status=400)
    return defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500: a fault of ours, whose traceback is in the log."""
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": "a fault of the gateway: its log says more"}, status=500)
    return defaults.server_error(request)
