"""Listing: rows of sessions, each with what its node knows of it, and their filters."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest

from realtime.models import NodeRecord
from realtime.nodes.figures import host_and_pid
from realtime.nodes.found import find_sessions

from .acts import MAX_SESSIONS
from .live import asked


class SlowFilter(admin.SimpleListFilter):
    """Those who read more slowly than messages come for them, as the nodes know."""

    title = "reading"
    parameter_name = "slow"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "too slowly")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() != "1":
            return queryset
        return queryset.filter(id__in=list(live_rows(request, slow=True)))


class NodeFilter(admin.SimpleListFilter):
    """The node on which they are, by its short name."""

    title = "node"
    parameter_name = "node"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        ids = NodeRecord.objects.order_by("id").values_list("id", flat=True)
        return [(id, host_and_pid(id)) for id in ids]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(node=self.value()) if self.value() else queryset


def live_rows(request: HttpRequest, **wanted: Any) -> dict[str, dict[str, Any]]:
    """Return what nodes know of sessions, by their ids; a request asks once, and first."""
    known: dict[str, dict[str, Any]] | None = getattr(request, "live_rows", None)
    if known is None:
        found = asked(request, find_sessions, limit=MAX_SESSIONS, **wanted)
        known = {row["id"]: row for row in found.rows} if found is not None else {}
        request.live_rows = known  # type: ignore[attr-defined]
    return known


class SessionList(ChangeList):
    """Rows of the database, each with what its node knows of it as ``live``, or None."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        records = list(self.result_list)
        ids = [record.id for record in records]
        rows = live_rows(request, ids=ids) if ids and request.method == "GET" else {}
        for record in records:
            record.live = rows.get(record.id)
        self.result_list = records
