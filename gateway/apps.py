"""Apps: Django's admin, with the gateway's own site."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class GatewayAdminConfig(AdminConfig):
    default_site = "gateway.admin.GatewayAdminSite"
