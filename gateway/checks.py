"""Checks of what only the environment of this project can get wrong."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks
from django.http.request import split_domain_port


def check_variables(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """W001: variables that look like settings of ours, and are none."""
    return [
        checks.Warning(
            f"{name} is set, and nothing reads it",
            hint=f"Do you mean {meant[0]}?"
            if meant
            else "docs/configuration.md lists all that are read.",
            id="gateway.W001",
        )
        for name, meant in settings.UNKNOWN_VARIABLES.items()
    ]


def check_hosts(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """E001: hosts that no request can be for."""
    return [
        checks.Error(
            f"ALLOWED_HOSTS has {host!r}, which is no host name",
            hint="It lists names without scheme, port or path, and [::1] in brackets.",
            id="gateway.E001",
        )
        for host in settings.ALLOWED_HOSTS
        if host != "*" and split_domain_port(host.removeprefix("."))[0] != host.strip(".").lower()
    ]
