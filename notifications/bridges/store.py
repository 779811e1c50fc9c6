"""Store: the keys of bridges in the gateway's own Redis, and the clients that look at it."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import redis
from django.conf import settings

from realtime.redis import create_client
from realtime.redis.cluster import ClusterClient

#: What is counted over all owners of a route, and its field in the status. Those are the first
#: release's words, so that processes of both can work side by side; so is "holder", the owner.
STORED_AS: Final = {"messages": "carried", "dead_lettered": "put_aside", "errors": "errors"}


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
