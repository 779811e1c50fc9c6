from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path
from django.views.generic import TemplateView

from notifications.bridges.metrics import MetricsView

from .login import AdminLoginForm, GatewayLoginView
from .metrics import registry

admin.site.login_form = AdminLoginForm

console = TemplateView.as_view(
    template_name="console.html", extra_context={"debug": settings.DEBUG}
)

urlpatterns = [
    path("", console, name="console"),
    path("login/", GatewayLoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("api/", include("notifications.api.urls")),
    path("metrics", MetricsView.as_view(registry=registry), name="metrics"),
    path("admin/", admin.site.urls),
]
