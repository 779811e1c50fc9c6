"""Routes as bridges have them, for tests of what surrounds bridges."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4


@dataclass(frozen=True)
class Route:
    id: str
    kind: str
    source: str
    redis: str | None = None
    group: str = "gateway"
    format: str = "envelope"


def route(kind: str, redis: str | None = None) -> Route:
    """Return a route that no other test has."""
    name = uuid4().hex
    return Route(f"{kind}:{name}", kind, name, redis)
