"""Routes of bridges, for tests of what surrounds bridges."""

from __future__ import annotations

from uuid import uuid4

from notifications.bridges import from_channel, from_pattern, from_stream
from notifications.bridges.routes import IncomingRoute, Kind

_ENTRIES = {"channel": from_channel, "pattern": from_pattern, "stream": from_stream}


def route(kind: Kind, redis: str | None = None, source: str = "") -> IncomingRoute:
    """Return a route that no other test has."""
    entry = _ENTRIES[kind]
    return entry(f"{source}{uuid4().hex}", redis=redis)
