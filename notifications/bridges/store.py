"""What bridges keep in the gateway's own Redis, and the clients with which people look at it."""

from __future__ import annotations

from functools import cache
from typing import Any

import redis
from django.conf import settings

from realtime.redis import create_client
from realtime.redis.cluster import ClusterClient


def key_of(route_id: str, part: str) -> str:
    """Return where a part of what belongs to a route is; all parts are in one slot of a cluster."""
    return f"{{{prefix()}:bridge:{route_id}}}:{part}"


def prefix() -> str:
    """Return the name of this gateway, that keeps it apart from others on the same Redis."""
    layer: Any = settings.CHANNEL_LAYERS["default"]
    name: str = layer.get("CONFIG", {}).get("prefix", "gateway")
    return name


@cache
def client_to(url: str) -> redis.Redis | ClusterClient:
    """Return the synchronous client to the Redis at the URL, which all threads share."""
    return create_client(url)
