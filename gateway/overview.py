"""Overview: what nodes, bridges and dead letters are like now, and what is wrong, on one page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from django.http import HttpRequest
from redis import RedisError

from notifications.bridges.routes import incoming_routes
from notifications.bridges.status import RouteStatus, read_status
from realtime.nodes.figures import NODE_FIGURES, Figure, node_rows
from realtime.nodes.overview import OVERVIEW, overview

#: What is drawn, too.
CHARTS: Final = (
    Figure("Sessions", "sums.sessions", "number"),
    Figure("Messages in, a second", "per_second.messages_in", "number"),
    Figure("Deliveries a second", "per_second.delivered", "number"),
    Figure("Publish to deliver, p99", "worst.delivery_ms.1", "ms"),
    Figure("Event loop late", "worst.loop_ms", "ms"),
)

FIGURES: Final = (
    Figure("Subscriptions", "sums.subscriptions", "number"),
    Figure("Topics", "topics", "number"),
    Figure("Published a second", "per_second.published", "number"),
    Figure("Bytes in, a second", "per_second.bytes_in", "bytes"),
    Figure("Bytes out, a second", "per_second.bytes_out", "bytes"),
    Figure("Slow clients", "sums.slow", "number"),
    Figure("Dropped a second", "per_second.dropped", "number"),
    Figure("Waiting for clients", "sums.waiting_bytes", "bytes"),
    Figure("Publish, p50", "worst.publish_ms.0", "ms"),
    Figure("Publish, p99", "worst.publish_ms.1", "ms"),
    Figure("Publish to deliver, p50", "worst.delivery_ms.0", "ms"),
    Figure("Redis round trip", "worst.redis_ms", "ms"),
    Figure("Memory", "sums.memory_bytes", "bytes"),
    Figure("Processors", "sums.processor", "percent"),
)


def overview_page(request: HttpRequest) -> dict[str, Any]:
    """Return what the page shows, as far as this user may see it; also while Redis is away."""
    user: Any = request.user
    if not user.has_perm("realtime.view_noderecord"):
        return {}
    content: Mapping[str, Any] = {"nodes": [], "problems": []}
    away, bridges = "", []
    try:
        content = overview()
        if user.has_perm("notifications.view_bridge"):
            bridges = read_status(incoming_routes())
    except RedisError as error:
        away = f"Redis is away: nobody can publish, and nodes can't be asked ({error})"
    return {
        "overview": content,
        "topic": OVERVIEW,
        "charts": [figure.of(content) for figure in CHARTS],
        "now": [figure.of(content) for figure in FIGURES],
        "figures": NODE_FIGURES,
        "nodes": node_rows(content),
        "bridges": bridges,
        "may_see_letters": user.has_perm("notifications.view_deadletter"),
        "problems": [away] if away else content["problems"],
        "bridge_problems": list(_problems(bridges)),
    }


def _problems(bridges: Iterable[RouteStatus]) -> Iterator[str]:
    """Return what is wrong with bridges, in words."""
    for bridge in bridges:
        if bridge.owner is None:
            yield f"{bridge.id}: no process consumes it; start manage.py bridge"
        elif bridge.problem is not None:
            yield f"{bridge.id}: {bridge.problem}"
        if letters := bridge.dead_letters:
            yield f"{bridge.id}: {letters} dead letter{'' if letters == 1 else 's'}"
