from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path
from django.views.i18n import set_language

from notifications.bridges.metrics import MetricsView

from .console import ConsoleView
from .language import CatalogueView, translated
from .login import GatewayLoginView
from .metrics import registry

handler400 = "gateway.errors.bad_request"
handler500 = "gateway.errors.server_error"

urlpatterns = [
    path("", translated(ConsoleView.as_view()), name="console"),
    path("login/", translated(GatewayLoginView.as_view()), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("language/", set_language, name="language"),
    path("language/<language>.js", CatalogueView.as_view(), name="catalogue"),
    path("api/", include("notifications.api.urls")),
    path("metrics", MetricsView.as_view(registry=registry), name="metrics"),
    path("admin/", admin.site.urls),
]
