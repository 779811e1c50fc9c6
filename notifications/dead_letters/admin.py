"""Admin: the dead letters of bridges, for operators to look at, to publish again, to drop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from redis import RedisError

from notifications.bridges.routes import IncomingRoute, incoming_routes
from notifications.models import DeadLetter
from realtime.admin.live import PageAdmin

from . import letters as dead_letters
from .letters import Key, Outcome
from .readable import readable

#: Letters on one page.
PAGE: Final = 50

View = Callable[..., HttpResponse]


def unless_redis_is_away(view: View) -> View:
    """Let a view say so instead of failing."""

    @wraps(view)
    def guarded(self: DeadLetterAdmin, request: HttpRequest, *args: Any, **kw: Any) -> HttpResponse:
        try:
            return view(self, request, *args, **kw)
        except RedisError as error:
            return self.render(request, "unavailable", status=503, error=error)

    return guarded


@admin.register(DeadLetter)
class DeadLetterAdmin(PageAdmin):
    """
    Pages as for any model, but made from Redis. Who may change a dead letter may publish it again;
    who may delete it may drop it.
    """

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.list_view), name="notifications_deadletter_changelist"),
            path(
                "<path:key>/change/",
                view(self.letter_view),
                name="notifications_deadletter_change",
            ),
        ]

    @unless_redis_is_away
    def list_view(self, request: HttpRequest) -> HttpResponse:
        """Show letters, the newest first; with POST, do something with those that are selected."""
        self.check_view_permission(request)
        return self._act(request) if request.method == "POST" else self._list(request)

    @unless_redis_is_away
    def letter_view(self, request: HttpRequest, key: str) -> HttpResponse:
        """Show one letter."""
        self.check_view_permission(request)
        letter = dead_letters.one(_key(unquote(key)))
        if letter is None:
            messages.warning(request, "That dead letter is not there any more.")
            return HttpResponseRedirect(reverse("admin:notifications_deadletter_changelist"))
        fields = [
            (readable(name), readable(value, is_whole=letter.is_whole), len(value))
            for name, value in letter.fields
        ]
        return self.render(
            request, "change_form", title="Dead letter", letter=letter, fields=fields
        )

    def render(
        self, request: HttpRequest, template: str, status: int = 200, **context: Any
    ) -> HttpResponse:
        """Return a page, which knows what may be done with letters."""
        may_redrive = self.has_change_permission(request)
        may_drop = self.has_delete_permission(request)
        return super().render(
            request, template, status, may_redrive=may_redrive, may_drop=may_drop, **context
        )

    def _list(self, request: HttpRequest) -> HttpResponse:
        counts = dead_letters.counts(_routes())
        route = request.GET.get("route", "")
        before = request.GET.get("before")
        wanted = [route] if route in counts else list(counts)
        letters = dead_letters.newest(wanted, PAGE + 1, _key(before) if before else None)
        return self.render(
            request,
            "change_list",
            letters=letters[:PAGE],
            older=str(letters[PAGE - 1].key) if len(letters) > PAGE else "",
            before=before,
            route=route,
            counts=counts,
            total=sum(counts[each] for each in wanted),
        )

    def _act(self, request: HttpRequest) -> HttpResponse:
        act = {"redrive": self._redrive, "drop": self._drop}.get(request.POST.get("action", ""))
        keys = [_key(text) for text in dict.fromkeys(request.POST.getlist("key"))]
        if act is None or not keys:
            messages.warning(request, "Select dead letters, and what to do with them.")
            return HttpResponseRedirect(request.get_full_path())
        return act(request, keys)

    def _redrive(self, request: HttpRequest, keys: list[Key]) -> HttpResponse:
        if not self.has_change_permission(request):
            raise PermissionDenied
        outcomes: dict[Key, Outcome] = {}
        for route, of_route in _by_route(keys):
            found = dead_letters.redrive(route, [key.entry_id for key in of_route])
            outcomes |= {key: found[key.entry_id] for key in of_route if key.entry_id in found}
        redriven = [key for key, outcome in outcomes.items() if outcome is Outcome.REDRIVEN]
        _log(request, redriven, CHANGE, "Published again.")
        _tell(request, outcomes.values(), len(keys) - len(outcomes))
        return HttpResponseRedirect(request.get_full_path())

    def _drop(self, request: HttpRequest, keys: list[Key]) -> HttpResponse:
        if not self.has_delete_permission(request):
            raise PermissionDenied
        if "confirmed" not in request.POST:
            return self.render(request, "drop_confirmation", title="Are you sure?", keys=keys)
        dropped = 0
        for route, of_route in _by_route(keys):
            dropped += dead_letters.drop(route, [key.entry_id for key in of_route])
            _log(request, of_route, DELETION, "Dropped.")
        messages.success(request, f"Dropped: {_letters(dropped)}.")
        return HttpResponseRedirect(request.get_full_path())


def _routes() -> dict[str, IncomingRoute]:
    return {route.id: route for route in incoming_routes()}


def _by_route(keys: list[Key]) -> list[tuple[IncomingRoute, list[Key]]]:
    """Return keys with their routes; those of routes that are no more are left out."""
    grouped = [
        (route, [key for key in keys if key.route_id == route.id]) for route in _routes().values()
    ]
    return [(route, of_route) for route, of_route in grouped if of_route]


def _key(text: str) -> Key:
    try:
        return Key.parse(text)
    except ValueError as error:
        raise Http404(error) from None


def _log(request: HttpRequest, keys: Iterable[Key], action: int, message: str) -> None:
    """Write to the admin's log what somebody did."""
    letters = [DeadLetter(id=str(key)) for key in keys]
    assert request.user.is_authenticated
    LogEntry.objects.log_actions(request.user.pk, letters, action, message)


def _tell(request: HttpRequest, outcomes: Iterable[Outcome], untried: int) -> None:
    """Say what became of letters that were to be re-driven."""
    for outcome, count in Counter(outcomes).items():
        say = messages.success if outcome is Outcome.REDRIVEN else messages.warning
        say(request, f"{outcome.value}: {_letters(count)}.")
    if untried:
        messages.warning(request, f"Not tried: {_letters(untried)}.")


def _letters(count: int) -> str:
    return f"{count} dead letter{'' if count == 1 else 's'}"
