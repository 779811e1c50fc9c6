"""
URLs: the API under ``/api/``.

What has a version is in its namespace; a second one will be another list, which may share views.
What has none was there before versions were, and stays as it is.
"""

from __future__ import annotations

from django.urls import include, path, re_path

from .history import HistoryView
from .live.views import (
    MessagesView,
    NodesView,
    PresenceView,
    SessionsView,
    SessionView,
    SubscriptionsView,
    TopicsView,
    UserSessionsView,
    UserView,
)
from .schema.pages import DocsView, SchemaView
from .tickets import TicketView
from .views import NotificationView, PublishView, not_found

v1 = [
    re_path(r"^publish/?$", PublishView.as_view(), name="publish"),
    re_path(r"^history/?$", HistoryView.as_view(), name="history"),
    re_path(r"^schema/?$", SchemaView.as_view(), name="schema"),
    re_path(r"^sessions/?$", SessionsView.as_view(), name="sessions"),
    re_path(r"^sessions/(?P<id>[^/]+)/?$", SessionView.as_view(), name="session"),
    re_path(
        r"^sessions/(?P<id>[^/]+)/subscriptions/?$",
        SubscriptionsView.as_view(),
        name="subscriptions",
    ),
    re_path(r"^sessions/(?P<id>[^/]+)/messages/?$", MessagesView.as_view(), name="messages"),
    re_path(r"^topics/?$", TopicsView.as_view(), name="topics"),
    re_path(r"^presence/?$", PresenceView.as_view(), name="presence"),
    re_path(r"^users/(?P<name>[^/]+)/?$", UserView.as_view(), name="user"),
    re_path(
        r"^users/(?P<name>[^/]+)/sessions/?$", UserSessionsView.as_view(), name="user-sessions"
    ),
    re_path(r"^nodes/?$", NodesView.as_view(), name="nodes"),
]

urlpatterns = [
    re_path(r"^notification/?$", NotificationView.as_view(), name="notification"),
    re_path(r"^ticket/?$", TicketView.as_view(), name="ticket"),
    re_path(r"^v1/", include((v1, "v1"))),
    re_path(r"^docs/?$", DocsView.as_view(), name="docs"),
    path("<path:path>", not_found),
]
