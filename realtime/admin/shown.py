"""Shown: sessions and times as the pages show them; numbers are in ``nodes.figures``."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString

from realtime.nodes.figures import duration


def short(id: str) -> str:
    """Return the beginning of a session's id, by which it is known among others."""
    return id[:8]


def moment(at: float) -> SafeString:
    """Return a time, in Unix seconds, as how long ago it was; to the second where one points."""
    return format_html(
        '<time datetime="{}" title="{}">{} ago</time>',
        datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds"),
        _to_the_second(at),
        duration(time.time() - at),
    )


def moment_and_time(at: float) -> SafeString:
    """Return a time as how long ago it was, and to the second."""
    return format_html("{}, {}", moment(at), _to_the_second(at))


def _to_the_second(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
