"""Nodes: the processes of the gateway, by what each tells of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from redis import RedisError

from realtime.models import NodeRecord
from realtime.nodes.figures import NODE_FIGURES, TOTAL_FIGURES, node_rows
from realtime.nodes.overview import overview

from .live import LiveAdmin, tell_redis_is_away


@admin.register(NodeRecord)
class NodeAdmin(LiveAdmin):
    """The nodes that live, by their reports; the rows are only for sessions."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.list_view)
        return [path("", view, name="realtime_noderecord_changelist")]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        """Show all nodes, and what is wrong with them."""
        self.check_view_permission(request)
        content: Mapping[str, Any] = {"nodes": [], "problems": []}
        try:
            content = overview()
        except RedisError as error:
            tell_redis_is_away(request, error)
        return self.render(
            request,
            "change_list",
            figures=NODE_FIGURES,
            nodes=node_rows(content),
            total_figures=TOTAL_FIGURES,
            totals=node_rows(content, TOTAL_FIGURES),
            problems=content["problems"],
        )
