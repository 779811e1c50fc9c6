"""The routing table: what the module that ``STOMP_ROUTING`` names says."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from django.conf import settings


@cache
def load_routes() -> tuple[Any, ...]:
    """Return the table ``routes`` of the module that ``STOMP_ROUTING`` names."""
    return tuple(import_module(settings.STOMP_ROUTING).routes)
