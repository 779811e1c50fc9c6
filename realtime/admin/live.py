"""Live: what pages share that show what nodes know, and change nothing in the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from redis import RedisError

from realtime.nodes.figures import names_of


class PageAdmin(admin.ModelAdmin):
    """Pages of its own in place of a model's: what they show is in no table."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def check_view_permission(self, request: HttpRequest) -> None:
        """
        Check that somebody may see these pages.

        Raises:
            PermissionDenied: If not.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied

    def render(
        self, request: HttpRequest, template: str, status: int = 200, **context: Any
    ) -> HttpResponse:
        """Return a page of this model."""
        return TemplateResponse(
            request,
            f"admin/{self.opts.app_label}/{self.opts.model_name}/{template}.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": str(self.opts.verbose_name_plural).capitalize(),
                **context,
            },
            status=status,
        )


class LiveAdmin(PageAdmin):
    """Pages on which nothing is changed or deleted as rows are."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Answered(Protocol):
    """What nodes answered, and which did not."""

    @property
    def missing(self) -> Sequence[str]: ...


Found = TypeVar("Found", bound=Answered)


def asked(request: HttpRequest, find: Callable[..., Found], **arguments: Any) -> Found | None:
    """
    Ask nodes what a page shows; those that do not answer are named on it.

    Returns:
        None while Redis is away, which the page says.
    """
    try:
        found = find(**arguments)
    except RedisError as error:
        tell_redis_is_away(request, error)
        return None
    if found.missing:
        text = f"No answer from {names_of(found.missing)}: what it knows is missing here."
        messages.warning(request, text)
    return found


def tell_redis_is_away(request: HttpRequest, error: RedisError) -> None:
    """Say on a page why it shows nothing of what nodes know."""
    messages.error(request, f"Redis is away, so the nodes can't be asked: {error}")
