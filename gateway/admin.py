"""Admin: the site of the gateway, which begins with an overview of all nodes and bridges."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse

from .login import AdminLoginForm
from .overview import overview_page

#: What operators look at, by app and model.
_PLACES: Final = (
    ("Sessions", "realtime", "sessionrecord"),
    ("Topics", "realtime", "topic"),
    ("Nodes", "realtime", "noderecord"),
    ("Bridges", "notifications", "bridge"),
    ("Dead letters", "notifications", "deadletter"),
    ("Log", "admin", "logentry"),
)


class LogAdmin(admin.ModelAdmin):
    """Who did what in the admin, to look at: nothing can be changed."""

    list_display = ("action_time", "user", "content_type", "object_repr", "message")
    list_display_links = None
    list_filter = (("content_type", admin.RelatedOnlyFieldListFilter),)
    search_fields = ("user__username", "object_id", "object_repr", "change_message")
    list_select_related = ("user", "content_type")
    show_full_result_count = False

    @admin.display(description="what was done")
    def message(self, entry: LogEntry) -> str:
        return str(entry.get_change_message() or entry.get_action_flag_display())

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class GatewayAdminSite(admin.AdminSite):
    """
    Django's, with the gateway's name, a line of what operators look at, and the overview. Who may
    not see nodes gets Django's index alone.
    """

    site_title = site_header = "STOMP gateway"
    index_title = "Overview"
    index_template = "admin/overview.html"
    enable_nav_sidebar = False  # lists need the room
    login_form = AdminLoginForm

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.register(LogEntry, LogAdmin)

    def index(self, request: HttpRequest, extra_context: Any = None) -> TemplateResponse:
        page = overview_page(request)
        return super().index(request, {**page, **(extra_context or {})})

    def each_context(self, request: Any) -> dict[str, Any]:
        return {**super().each_context(request), "places": list(self._places(request))}

    def _places(self, request: Any) -> list[dict[str, Any]]:
        """Return where this user may look."""
        if not self.has_permission(request):
            return []
        home = reverse(f"{self.name}:index")
        places = [{"label": "Overview", "url": home, "here": request.path == home}]
        for label, app, model in _PLACES:
            if request.user.has_perm(f"{app}.view_{model}"):
                url = reverse(f"{self.name}:{app}_{model}_changelist")
                here = request.path.startswith(url)
                places.append({"label": label, "url": url, "here": here})
        return places
