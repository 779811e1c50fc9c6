"""Sessions: the list of them, to search and filter, the page of one, and what is done to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from realtime.models import NodeRecord, SessionRecord
from realtime.nodes.figures import NOTHING, data_size, host_and_pid, number
from realtime.nodes.inquiry import ask

from .acts import FORMS, MAX_SESSIONS, ActForm, act_on, sessions
from .listing import NodeFilter, SessionList, SlowFilter
from .live import LiveAdmin, asked
from .shown import moment, moment_and_time, short

#: So many topics of a session are in its row.
_TOPICS: Final = 2

#: So many sessions are named where something is to be done to them.
_NAMED: Final = 20

#: How a subscription gets its messages, by what keeps them for it.
_WAYS: Final = {
    "Direct": "at once",
    "Telling": "at once",
    "AckWindow": "as it acknowledges",
    "LossyQueue": "those it can keep up with",
    "Replay": "what it missed, first",
}


@admin.register(SessionRecord)
class SessionAdmin(LiveAdmin):
    """The live sessions. Each act on them has a permission of its own."""

    list_display = (
        "session", "who", "hears", "messages_in", "messages_out", "waiting", "heard", "since",
        "on",
    )  # fmt: skip
    list_display_links = None
    list_filter = (SlowFilter, NodeFilter, "version")
    search_fields = ("id__startswith", "user", "address", "user_agent", "topics")
    search_help_text = "The beginning of an id, a part of user, address, user agent or topic"
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    actions = ("disconnect", "unsubscribe", "message")

    class Media:
        css = {"all": ("realtime/admin.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[SessionRecord]:
        dead = NodeRecord.objects.dead()
        return super().get_queryset(request).exclude(node__in=dead)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return SessionList

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path(
                f"{name}/",
                view(partial(self.act_view, name)),
                name=f"realtime_sessionrecord_{name}",
            )
            for name in FORMS
        ] + super().get_urls()

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Sessions", **(extra_context or {})})

    # Columns

    @admin.display(ordering="id")
    def session(self, record: SessionRecord) -> SafeString:
        page = reverse(f"{self.admin_site.name}:realtime_sessionrecord_change", args=[record.id])
        return _two_lines(
            format_html('<a href="{}"><code>{}</code></a>', page, short(record.id)),
            f"STOMP {record.version}" if record.version[:1].isdigit() else record.version,
        )

    @admin.display(description="user, address", ordering="user")
    def who(self, record: SessionRecord) -> SafeString:
        user = record.user or format_html('<span class="quiet">{}</span>', "anonymous")
        return _two_lines(user, record.address)

    @admin.display(description="topics")
    def hears(self, record: SessionRecord) -> str | SafeString:
        topics = record.topic_list
        first = [[each] for each in topics[:_TOPICS]]
        shown = format_html_join(SafeString("<br>"), '<span title="{0}">{0}</span>', first)
        if (more := len(topics) - _TOPICS) > 0:
            return format_html('{} <b title="{}">+{}</b>', shown, "\n".join(topics), more)
        return shown or NOTHING

    @admin.display(description="sent")
    def messages_in(self, record: SessionRecord) -> SafeString:
        return _counted(record, "in")

    @admin.display(description="got")
    def messages_out(self, record: SessionRecord) -> SafeString:
        return _counted(record, "out")

    @admin.display(description="waiting")
    def waiting(self, record: SessionRecord) -> str | SafeString:
        waiting = _live(record, "waiting_bytes", data_size)
        if (live := getattr(record, "live", None)) is not None and live["slow"]:
            return format_html('{} <strong class="slow">slow</strong>', waiting)
        return waiting

    @admin.display(description="heard")
    def heard(self, record: SessionRecord) -> str:
        return _live(record, "heard_at", moment)

    @admin.display(description="connected", ordering="connected_at")
    def since(self, record: SessionRecord) -> SafeString:
        at = record.connected_at
        return _two_lines(moment(at.timestamp()), f"{at:%b %d %H:%M:%S}")

    @admin.display(description="node", ordering="node")
    def on(self, record: SessionRecord) -> str:
        return host_and_pid(record.node_id)

    # One session

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show all there is to know of a session, and what may be done to it."""
        self.check_view_permission(request)
        if request.method == "POST":  # nothing is changed here
            raise PermissionDenied
        record = self.get_object(request, object_id)
        if record is None:
            messages.warning(request, f"The session {short(object_id)} is not there any more.")
            return HttpResponseRedirect(self._list_url())
        answers = asked(request, partial(ask, "session"), nodes=[record.node_id], id=record.id)
        live = next(iter(answers.rows("sessions")), None) if answers is not None else None
        if live is None and answers is not None and answers.by_node:
            messages.warning(request, "The session has just ended.")
        return self.render(
            request,
            "change_form",
            title=f"Session {short(record.id)}",
            record=record,
            about=_about(record, live),
            live=live,
            heard=_heard(live) if live is not None else None,
            acts=[(name, FORMS[name]) for name in FORMS if self._may(request, name)],
            may_see_topics=request.user.has_perm("realtime.view_topic"),
        )

    # What is done to them

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "disconnect")

    def has_unsubscribe_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "unsubscribe")

    def has_message_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "message")

    @admin.action(permissions=["disconnect"], description="Disconnect selected sessions")
    def disconnect(self, request: HttpRequest, chosen: QuerySet[Any]) -> HttpResponse | None:
        return self._ask_how(request, "disconnect", chosen)

    @admin.action(permissions=["unsubscribe"], description="Unsubscribe selected sessions from …")
    def unsubscribe(self, request: HttpRequest, chosen: QuerySet[Any]) -> HttpResponse | None:
        return self._ask_how(request, "unsubscribe", chosen)

    @admin.action(permissions=["message"], description="Send selected sessions a message")
    def message(self, request: HttpRequest, chosen: QuerySet[Any]) -> HttpResponse | None:
        return self._ask_how(request, "message", chosen)

    def act_view(self, name: str, request: HttpRequest) -> HttpResponse:
        """Ask how something is to be done to the sessions of ``ids``; with POST, do it."""
        if not self._may(request, name):
            raise PermissionDenied
        if request.method != "POST":
            ids = request.GET.get("ids", "").split(",")[:MAX_SESSIONS]
            return self._form_page(request, name, self._records(request, ids))
        form = FORMS[name](request.POST)
        valid = form.is_valid()
        records = self._records(request, form.cleaned_data.get("ids", ()))
        if not valid:
            return self._form_page(request, name, records, form)
        if not records:
            messages.warning(request, "These sessions are not there any more.")
        else:
            act_on(request, form, records)
        return HttpResponseRedirect(self._url_after(name, records))

    def _may(self, request: HttpRequest, name: str) -> bool:
        allowed = request.user.has_perm(f"realtime.{name}_session")
        return allowed and self.has_view_permission(request)

    def _records(self, request: HttpRequest, ids: Iterable[str]) -> list[SessionRecord]:
        return list(self.get_queryset(request).filter(id__in=list(ids)))

    def _ask_how(
        self, request: HttpRequest, name: str, chosen: QuerySet[Any]
    ) -> HttpResponse | None:
        records = list(chosen[: MAX_SESSIONS + 1])
        if len(records) > MAX_SESSIONS:
            messages.warning(request, f"At most {MAX_SESSIONS} sessions at once: filter them.")
            return None
        return self._form_page(request, name, records)

    def _form_page(
        self,
        request: HttpRequest,
        name: str,
        records: Sequence[SessionRecord],
        form: ActForm | None = None,
    ) -> HttpResponse:
        """Return the page that asks how, and why."""
        if not records:
            messages.warning(request, "These sessions are not there any more.")
            return HttpResponseRedirect(self._list_url())
        if form is None:
            ids = ",".join(record.id for record in records)
            form = FORMS[name](initial={"ids": ids, "topic": request.GET.get("topic", "")})
        form.topics = sorted({topic for record in records for topic in record.topic_list})
        return self.render(
            request,
            "act",
            title=f"{form.title}: {sessions(records)}",
            act=name,
            form=form,
            records=[(short(each.id), each) for each in records[:_NAMED]],
            more=max(0, len(records) - _NAMED),
            back=self._url_after("", records),
        )

    def _url_after(self, name: str, records: Sequence[SessionRecord]) -> str:
        """Return the page of the session, if it is one that goes on, or the list."""
        if len(records) != 1 or name == "disconnect":
            return self._list_url()
        page = f"{self.admin_site.name}:realtime_sessionrecord_change"
        return reverse(page, args=[quote(records[0].id)])

    def _list_url(self) -> str:
        return reverse(f"{self.admin_site.name}:realtime_sessionrecord_changelist")


def _two_lines(first: Any, second: Any) -> SafeString:
    return format_html('{}<span class="quiet below">{}</span>', first, second)


def _live(record: Any, name: str, show: Any) -> Any:
    """Return what a node knows of a session, as it is shown."""
    live = getattr(record, "live", None)
    return NOTHING if live is None else show(live[name])


def _counted(record: Any, way: str) -> SafeString:
    """Return how many messages went one way, and how many a second lately."""
    count = _live(record, f"messages_{way}", number)
    return _two_lines(count, _live(record, f"{way}_per_second", _rate))


def _rate(per_second: float) -> str:
    return f"{number(per_second)}/s"


def _about(record: SessionRecord, live: dict[str, Any] | None) -> list[tuple[str, Any]]:
    """Return what is known of a session, with what it is called."""
    record.live = live  # type: ignore[attr-defined]
    login = None if live is None else live["login"]
    return [
        ("Id", record.id),
        ("User", record.user or "anonymous"),
        ("Logged in by", login or NOTHING),
        ("Address", record.address or NOTHING),
        ("User agent", record.user_agent or NOTHING),
        ("Protocol", record.version or NOTHING),
        ("Node", record.node_id),
        ("Connected", moment_and_time(record.connected_at.timestamp())),
        ("Heard", _live(record, "heard_at", moment_and_time)),
        ("Messages sent", _live(record, "messages_in", number)),
        ("Sent a second", _live(record, "in_per_second", number)),
        ("Messages got", _live(record, "messages_out", number)),
        ("Got a second", _live(record, "out_per_second", number)),
        ("Waiting for it", _live(record, "waiting_bytes", data_size)),
    ]


def _heard(live: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {**each, "way": _WAYS.get(each["kind"], each["kind"]), "page": quote(each["topic"])}
        for each in live["heard"]
    ]
