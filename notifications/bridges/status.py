"""
Status: how the bridges are doing, as ``manage.py bridge --list`` and the metrics show it.

The process that consumes a route owns its lease and says in its status what it did; Redis itself
says how far behind it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from django.db import Error as DatabaseError
from redis import RedisError, ResponseError

from notifications.dead_letters import letters as dead_letters
from realtime.concurrency import with_connection
from realtime.conf import conf
from realtime.django.outbox import waiting
from realtime.redis import execute_all, try_all

from .routes import IncomingRoute, OutgoingRoute
from .store import STORED_AS, client_to, key_of


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """
    One route, and how it is doing; None is what there is not, or nobody knows.

    Args:
        id: What it is called in Redis, such as ``stream:ORDERS``.
        destination: Where messages go to, or come from; "" if each of them says it.
        owner: Which process consumes it.
        rate: Messages consumed in a second, when ``updated``.
        messages: How many were consumed, by whomever; so are ``dead_lettered`` and ``errors``.
        since: When the owner began, in seconds since 1970; so is ``updated``.
        lag: Entries of the stream that were not read yet; messages of an outbox that wait.
        pending: Entries that were read, and neither consumed nor dead-lettered yet.
        dead_letters: How many are kept.
        problem: Why ``lag`` and ``pending`` are not known.
    """

    id: str
    direction: Literal["in", "out"]
    destination: str
    format: str
    owner: str | None = None
    rate: float | None = None
    messages: int | None = None
    dead_lettered: int | None = None
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
    client = client_to(conf.REDIS_URL)
    leases = execute_all(client, [("GET", key_of(route.id, "lease")) for route in asked])
    said = execute_all(client, [("HGETALL", key_of(route.id, "status")) for route in asked])
    kept = dead_letters.counts(route.id for route in asked)
    backlogs = _backlogs(asked)
    return [
        RouteStatus(
            route.id,
            "in",
            route.to,
            route.format,
            dead_letters=kept[route.id],
            **_progress(lease, _pairs(flat)),
            **backlogs.get(route.id, {}),
        )
        for route, lease, flat in zip(asked, leases, said, strict=True)
    ]


def _progress(lease: bytes | None, said: dict[str, bytes]) -> dict[str, Any]:
    """Return what the owner said; what was counted by earlier ones counts on, but is not fast."""
    return {
        "owner": lease.decode().split()[0] if lease else None,
        "rate": float(said.get("rate", 0)) if lease else 0.0,
        **{name: int(said.get(stored, 0)) for name, stored in STORED_AS.items()},
        **{name: float(said[name]) for name in ("since", "updated") if name in said},
    }


def _backlogs(routes: Iterable[IncomingRoute]) -> dict[str, dict[str, Any]]:
    """
    Return what streams and outboxes hold for their routes, or why that is not known, by the routes'
    ids.
    """
    by_url: dict[str, list[IncomingRoute]] = {}
    found: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.kind == "stream":
            by_url.setdefault(route.url, []).append(route)
        elif route.kind == "outbox":
            found[route.id] = _of_outbox(route)
    for url, of_url in by_url.items():
        questions = [("XINFO", "GROUPS", route.source) for route in of_url]
        try:
            answers = try_all(client_to(url), questions)
        except RedisError as error:
            answers = [error] * len(of_url)
        found |= {
            route.id: _backlog(route, answer) for route, answer in zip(of_url, answers, strict=True)
        }
    return found


def _backlog(route: IncomingRoute, groups: Any) -> dict[str, Any]:
    if isinstance(groups, ResponseError):
        return {"problem": "there is no such stream yet"}
    if isinstance(groups, RedisError):
        return {"problem": f"its Redis does not answer: {groups}"}
    for group in map(_pairs, groups):
        if group["name"] == route.group.encode():
            return {name: group[name] for name in ("lag", "pending")}
    return {"problem": f"the stream has no group {route.group} yet"}


def _of_outbox(route: IncomingRoute) -> dict[str, Any]:
    try:
        return {"lag": with_connection(waiting, route.source)}
    except DatabaseError as error:
        return {"problem": f"its database does not answer: {type(error).__name__}"}


def _pairs(flat: list[Any]) -> dict[str, Any]:
    """Return names and values that Redis says one after the other."""
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
