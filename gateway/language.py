"""
Language: the pages of the gateway's own in the language of their reader, all else in English.

A view that is :func:`translated` answers in the language that was chosen on a page, or else in the
one that the browser prefers. Django's LocaleMiddleware does so for all views, and they are not
ready for it: the admin would mix Django's words, which are translated, with ours, which are not;
and errors of the API, which go into logs and searches, would change with a header of the request.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import SimpleTemplateResponse
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.decorators import method_decorator
from django.utils.translation import get_language_from_request, override
from django.views.decorators.http import conditional_page
from django.views.i18n import JavaScriptCatalog

#: How long browsers keep a catalogue without asking: as long as they keep static files.
CATALOGUE_SECONDS: Final = 60

View = Callable[..., Any]


def translated(view: View) -> View:
    """Let a view answer in the language of its reader, from its first word to its last."""

    @wraps(view)
    def respond(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        language = get_language_from_request(request)
        with override(language):
            response = view(request, *args, **kwargs)
            if isinstance(response, SimpleTemplateResponse):
                response = response.render()
        patch_vary_headers(response, ("Accept-Language", "Cookie"))
        response.headers["Content-Language"] = language
        return response

    return respond


@method_decorator(conditional_page, name="dispatch")
class CatalogueView(JavaScriptCatalog):
    """
    What the console's script says, in the language that the address names. So it may be kept,
    whatever the reader chooses meanwhile.
    """

    packages = ["gateway"]

    def get(self, request: HttpRequest, *args: Any, language: str, **kwargs: Any) -> HttpResponse:
        if language not in dict(settings.LANGUAGES):
            raise Http404(language)
        with override(language):
            response = super().get(request, *args, **kwargs)
        patch_cache_control(response, max_age=CATALOGUE_SECONDS)
        return response

    def get_paths(self, packages: Any) -> list[Any]:
        """Return where our words are, and no app's: the admin has scripts of its own."""
        return list(settings.LOCALE_PATHS)
