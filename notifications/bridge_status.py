"""
How the bridges are doing: what ``manage.py bridge --list`` shows, and metrics can.

The process that carries a route holds its lease and says in its status what it did; Redis itself
says how far behind it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from django.conf import settings
from redis import RedisError, ResponseError

from realtime.redis import execute_all

from . import dead_letters
from .bridge_store import client_to, key_of


class Route(dead_letters.Route, Protocol):
    """What has to be known of a route, besides what dead letters need."""

    @property
    def format(self) -> str: ...

    @property
    def group(self) -> str:
        """The consumer group with which a stream is read."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """
    What a stream holds for a route.

    Args:
        lag: Entries that were not read yet; None where Redis can't tell.
        pending: Entries that were read, and neither carried nor put aside yet.
    """

    lag: int | None = None
    pending: int | None = None


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """
    How one route is doing.

    Args:
        holder: Which process carries it, or None if none does.
        rate: Messages carried in a second, when ``updated``.
        carried: How many messages; so are ``put_aside`` and ``errors``.
        since: Since when they are counted, in seconds since 1970; so is ``updated``.
        backlog: None where there is no stream, or ``problem`` says why it can't be read.
        dead_letters: How many are kept.
    """

    id: str
    kind: str
    source: str
    format: str
    holder: str | None
    rate: float
    carried: int
    put_aside: int
    errors: int
    since: float | None
    updated: float | None
    dead_letters: int
    backlog: Backlog | None = None
    problem: str | None = None


def read_status(routes: Iterable[Route]) -> list[RouteStatus]:
    """
    Return how routes are doing; from synchronous code.

    A Redis of a route's own that is away is a ``problem`` of that route.

    Raises:
        redis.RedisError: If the gateway's own Redis is away.
    """
    asked = list(routes)
    client = client_to(settings.REDIS_URL)
    leases = execute_all(client, [("GET", key_of(route.id, "lease")) for route in asked])
    said = execute_all(client, [("HGETALL", key_of(route.id, "status")) for route in asked])
    kept = dead_letters.counts(route.id for route in asked)
    return [
        _status(route, lease, _pairs(flat), kept[route.id])
        for route, lease, flat in zip(asked, leases, said, strict=True)
    ]


def _status(route: Route, lease: bytes | None, said: dict[str, bytes], letters: int) -> RouteStatus:
    backlog, problem = _look_at_stream(route)
    return RouteStatus(
        id=route.id,
        kind=route.kind,
        source=route.source,
        format=route.format,
        holder=lease.decode().split()[0] if lease else None,
        rate=float(said.get("rate", 0)),
        carried=int(said.get("carried", 0)),
        put_aside=int(said.get("put_aside", 0)),
        errors=int(said.get("errors", 0)),
        since=float(said["since"]) if "since" in said else None,
        updated=float(said["updated"]) if "updated" in said else None,
        dead_letters=letters,
        backlog=backlog,
        problem=problem,
    )


def _look_at_stream(route: Route) -> tuple[Backlog | None, str | None]:
    """Return what the stream of a route holds for it, or why that is not known."""
    if route.kind != "stream":
        return None, None
    client = client_to(route.redis or settings.REDIS_URL)
    try:
        [groups] = execute_all(client, [("XINFO", "GROUPS", route.source)])
    except ResponseError:
        groups = []  # there is no such stream yet
    except RedisError as error:
        return None, str(error)
    for group in map(_pairs, groups):
        if group["name"] == route.group.encode():
            return Backlog(group["lag"], group["pending"]), None
    return None, f"the stream {route.source} has no group {route.group} yet"


def _pairs(flat: list[Any]) -> dict[str, Any]:
    """Return names and values that Redis says one after the other."""
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
