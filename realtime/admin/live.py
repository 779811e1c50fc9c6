"""Live: what pages share that show what nodes know, and change nothing in the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from redis import RedisError

from realtime.nodes.figures import host_and_pid
from realtime.nodes.inquiry import Answers, ask

#: Seconds that nodes have to answer what a page asks.
PATIENCE_SECONDS: Final = 1.0


class LiveAdmin(admin.ModelAdmin):
    """Pages on which nothing is added, changed or deleted as rows are."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def check_view_permission(self, request: HttpRequest) -> None:
        """
        Check that somebody may see these pages.

        Raises:
            PermissionDenied: If not.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied

    def render(self, request: HttpRequest, template: str, **context: Any) -> HttpResponse:
        """Return a page of this model."""
        return TemplateResponse(
            request,
            f"admin/realtime/{self.opts.model_name}/{template}.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": str(self.opts.verbose_name_plural).capitalize(),
                **context,
            },
        )


def asked(request: HttpRequest, question: str, **arguments: Any) -> Answers:
    """
    Ask nodes what a page shows; those that do not answer are named on it.

    Returns:
        No answers while Redis is away, which the page says.
    """
    try:
        answers = ask(question, seconds=PATIENCE_SECONDS, **arguments)
    except RedisError as error:
        tell_redis_is_away(request, error)
        return Answers()
    if answers.missing:
        names = names_of(answers.missing)
        messages.warning(request, f"No answer from {names}: what it knows is missing here.")
    return answers


def tell_redis_is_away(request: HttpRequest, error: RedisError) -> None:
    """Say on a page why it shows nothing of what nodes know."""
    messages.error(request, f"Redis is away, so the nodes can't be asked: {error}")


def names_of(nodes: Iterable[str]) -> str:
    """Return the names of nodes in words."""
    return ", ".join(map(host_and_pid, nodes))
