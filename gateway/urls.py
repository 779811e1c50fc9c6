from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path

from notifications.bridges.metrics import MetricsView

from .console import ConsoleView
from .login import GatewayLoginView
from .metrics import registry

urlpatterns = [
    path("", ConsoleView.as_view(), name="console"),
    path("login/", GatewayLoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("api/", include("notifications.api.urls")),
    path("metrics", MetricsView.as_view(registry=registry), name="metrics"),
    path("admin/", admin.site.urls),
]
