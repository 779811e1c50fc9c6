from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from .models import NodeRecord, SessionRecord


@admin.register(SessionRecord)
class SessionAdmin(admin.ModelAdmin):
    """The live sessions, to look at: nothing can be changed."""

    list_display = (
        "id", "user", "address", "version", "node", "connected_at", "topics",
    )  # fmt: skip
    list_filter = ("node", "version", "connected_at")
    search_fields = ("id", "user", "address", "user_agent", "topics")
    list_select_related = ("node",)
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[SessionRecord]:
        dead = NodeRecord.objects.dead()
        return super().get_queryset(request).exclude(node__in=dead)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
