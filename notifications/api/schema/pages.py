"""Pages: the OpenAPI document of the API, and what shows it, for whoever is logged in."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.views import redirect_to_login
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.exceptions import NotAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from notifications.api.access import IsAuthenticated

from . import operations


class SchemaView(SpectacularAPIView):
    """The OpenAPI document of this version: YAML, or JSON with `?format=json`."""

    permission_classes = (IsAuthenticated,)

    @operations.document
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    def handle_exception(self, exc: Exception) -> Any:
        """Answer with an error in JSON, as everywhere, whatever the document was to be in."""
        self.request.accepted_renderer = JSONRenderer()
        self.request.accepted_media_type = JSONRenderer.media_type
        return super().handle_exception(exc)


class DocsView(SpectacularSwaggerSplitView):
    """The page: Swagger UI, whose files and script come from here and not from the page."""

    permission_classes = (IsAuthenticated,)
    template_name = "notifications/docs.html"
    title = "API of the STOMP gateway"
    url_name = "v1:schema"

    def handle_exception(self, exc: Exception) -> Any:
        """Lead people to the login; it leads back."""
        if isinstance(exc, NotAuthenticated):
            return redirect_to_login(self.request.get_full_path())
        return super().handle_exception(exc)
