"""Settings that are read for every message."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from django.core.signals import setting_changed

T = TypeVar("T")


def cached_setting(read: Callable[[], T]) -> Callable[[], T]:
    """Make a function that reads settings do so once, and again when a test has changed them."""
    cached = cache(read)

    def forget(**_: Any) -> None:
        cached.cache_clear()

    setting_changed.connect(forget, weak=False)
    return cached
