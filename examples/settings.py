"""
The settings of `make demo`: the gateway's own, and the examples.

Anybody may log in as a guest here, so they are refused where DEBUG is off.
"""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured

from gateway.settings import *  # noqa: F403
from gateway.settings import DEBUG, INSTALLED_APPS, STOMP_AUTHENTICATORS

if not DEBUG:
    raise ImproperlyConfigured(
        "examples.settings lets anybody in, so it needs DEBUG=1; in production leave"
        " DJANGO_SETTINGS_MODULE out, or set it to gateway.settings"
    )
INSTALLED_APPS = [*INSTALLED_APPS, "examples"]
ROOT_URLCONF = "examples.urls"
STOMP_ROUTING = "examples.routing"
STOMP_AUTHENTICATORS = ["examples.guests.guest_user", *STOMP_AUTHENTICATORS]
