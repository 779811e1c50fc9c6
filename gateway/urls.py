from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import TemplateView

urlpatterns = [
    path("", TemplateView.as_view(template_name="console.html"), name="console"),
    path("api/", include("notifications.urls")),
    path("admin/", admin.site.urls),
]
