"""Admin: the bridges, to look at; and the dead letters, see :mod:`.dead_letters.admin`."""

from __future__ import annotations

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from redis import RedisError

from realtime.admin.live import LiveAdmin

from .bridges.routes import incoming_routes, outgoing_routes
from .bridges.status import RouteStatus, outgoing_status, read_status
from .dead_letters.admin import DeadLetterAdmin
from .models import Bridge

__all__ = ["BridgeAdmin", "DeadLetterAdmin"]


@admin.register(Bridge)
class BridgeAdmin(LiveAdmin):
    """The routes of the routing table, and how those that lead in are doing."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.list_view)
        return [path("", view, name="notifications_bridge_changelist")]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        """Show all routes; of those that lead in what Redis says, unless it is away."""
        self.check_view_permission(request)
        bridges: list[RouteStatus] = []
        try:
            bridges = read_status(incoming_routes())
        except RedisError as error:
            messages.error(request, f"Redis is away, so the bridges can't be seen: {error}")
        return self.render(
            request,
            "change_list",
            bridges=bridges,
            outgoing=[outgoing_status(route) for route in outgoing_routes()],
            may_see_letters=request.user.has_perm("notifications.view_deadletter"),
        )
