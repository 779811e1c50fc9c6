"""
How the bridges are doing: what ``manage.py bridge --list`` shows, and metrics can.

The process that carries a route holds its lease and says in its status what it did; Redis itself
says how far behind it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from django.conf import settings
from redis import RedisError, ResponseError

from realtime.redis import execute_all

from . import dead_letters
from .routes import IncomingRoute, OutgoingRoute
from .store import client_to, key_of


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """
    One route, and how it is doing; None is what there is not, or nobody knows.

    Args:
        id: What it is called in Redis, such as ``stream:ORDERS``.
        destination: Where messages go to, or come from; "" if each of them says it.
        holder: Which process carries it.
        rate: Messages carried in a second, when ``updated``.
        carried: How many messages, whoever carried them; so are ``put_aside`` and ``errors``.
        since: When the holder began, in seconds since 1970; so is ``updated``.
        lag: Entries of the stream that were not read yet.
        pending: Entries that were read, and neither carried nor put aside yet.
        dead_letters: How many are kept.
        problem: Why ``lag`` and ``pending`` are not known.
    """

    id: str
    direction: Literal["in", "out"]
    destination: str
    format: str
    holder: str | None = None
    rate: float | None = None
    carried: int | None = None
    put_aside: int | None = None
    errors: int | None = None
    since: float | None = None
    updated: float | None = None
    lag: int | None = None
    pending: int | None = None
    dead_letters: int | None = None
    problem: str | None = None


def outgoing_status(route: OutgoingRoute) -> RouteStatus:
    """Return what there is to say about a route that leads out."""
    return RouteStatus(f"{route.kind}:{route.name}", "out", route.pattern, route.format)


def read_status(routes: Iterable[IncomingRoute]) -> list[RouteStatus]:
    """
    Return how routes are doing; from synchronous code.

    Where a route has a Redis of its own that is away, that is its ``problem``.

    Raises:
        redis.RedisError: If the gateway's own Redis is away.
    """
    asked = list(routes)
    client = client_to(settings.REDIS_URL)
    leases = execute_all(client, [("GET", key_of(route.id, "lease")) for route in asked])
    said = execute_all(client, [("HGETALL", key_of(route.id, "status")) for route in asked])
    kept = dead_letters.counts(route.id for route in asked)
    return [
        RouteStatus(
            route.id,
            "in",
            route.to,
            route.format,
            dead_letters=kept[route.id],
            **_progress(lease, _pairs(flat)),
            **_backlog(route),
        )
        for route, lease, flat in zip(asked, leases, said, strict=True)
    ]


def _progress(lease: bytes | None, said: dict[str, bytes]) -> dict[str, Any]:
    """Return what the holder said; what was counted by earlier ones counts on, but is not fast."""
    return {
        "holder": lease.decode().split()[0] if lease else None,
        "rate": float(said.get("rate", 0)) if lease else 0.0,
        **{name: int(said.get(name, 0)) for name in ("carried", "put_aside", "errors")},
        **{name: float(said[name]) for name in ("since", "updated") if name in said},
    }


def _backlog(route: IncomingRoute) -> dict[str, Any]:
    """Return what a stream holds for its route, or why that is not known."""
    if route.kind != "stream":
        return {}
    try:
        [groups] = execute_all(client_to(route.url), [("XINFO", "GROUPS", route.source)])
    except ResponseError:
        return {"problem": "there is no such stream yet"}
    except RedisError as error:
        return {"problem": f"its Redis does not answer: {error}"}
    for group in map(_pairs, groups):
        if group["name"] == route.group.encode():
            return {name: group[name] for name in ("lag", "pending")}
    return {"problem": f"the stream has no group {route.group} yet"}


def _pairs(flat: list[Any]) -> dict[str, Any]:
    """Return names and values that Redis says one after the other."""
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
