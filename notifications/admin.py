"""Admin: the bridges, to look at; and the dead letters, see :mod:`.dead_letters.admin`."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from redis import RedisError

from .bridges.routes import incoming_routes, outgoing_routes
from .bridges.status import RouteStatus, outgoing_status, read_status
from .dead_letters.admin import DeadLetterAdmin
from .models import Bridge

__all__ = ["BridgeAdmin", "DeadLetterAdmin"]


@admin.register(Bridge)
class BridgeAdmin(admin.ModelAdmin):
    """The routes of the routing table, and how those that lead in are doing."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.list_view)
        return [path("", view, name="notifications_bridge_changelist")]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def list_view(self, request: HttpRequest) -> HttpResponse:
        """Show all routes; of those that lead in what Redis says, unless it is away."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        bridges: list[RouteStatus] = []
        try:
            bridges = read_status(incoming_routes())
        except RedisError as error:
            messages.error(request, f"Redis is away, so the bridges can't be seen: {error}")
        return TemplateResponse(
            request,
            "admin/notifications/bridge/change_list.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": "Bridges",
                "bridges": bridges,
                "outgoing": [outgoing_status(route) for route in outgoing_routes()],
                "may_see_letters": request.user.has_perm("notifications.view_deadletter"),
            },
        )
