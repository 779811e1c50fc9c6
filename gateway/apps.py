"""Apps: Django's admin, with the gateway's own site; and the checks of this project."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig
from django.core import checks

from realtime.apps import TAG


class GatewayAdminConfig(AdminConfig):
    default_site = "gateway.admin.GatewayAdminSite"

    def ready(self) -> None:
        super().ready()
        from .checks import check_hosts, check_variables

        checks.register(check_variables, TAG)
        checks.register(check_hosts, TAG)
