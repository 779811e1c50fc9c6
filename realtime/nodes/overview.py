"""Overview: the reports of all nodes as one, and what is wrong now, in words."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from .board import Report, board

#: Where the overview is shown, each two seconds, to those of the staff who look at it.
OVERVIEW: Final = "/topic/$SYS/overview"

#: What is said of a node: by how much its event loop may be late, how long Redis may take, how
#: much of a processor and how much may wait for its clients.
LATE_MS: Final = 200.0
REDIS_MS: Final = 100.0
BUSY: Final = 0.9
WAITING_BYTES: Final = 64 * 1024 * 1024

_SUMS: Final = ("sessions", "subscriptions", "slow", "waiting_bytes", "memory_bytes", "processor")


def overview() -> dict[str, Any]:
    """
    Return what all nodes tell of themselves, from synchronous code::

        at         Unix seconds
        nodes      their reports, see :class:`.Reporter`
        topics     how many the node has that hears the most of them
        sums       sessions, subscriptions, slow, waiting_bytes, memory_bytes, processor
        per_second messages_in, published, delivered, dropped, bytes_in, bytes_out
        worst      publish_ms, delivery_ms (p50, p99), loop_ms, redis_ms: of the worst node
        problems   what is wrong now, a sentence each

    Raises:
        redis.RedisError: If Redis is away.
    """
    reports = board().reports()
    return {
        "at": time.time(),
        "nodes": reports,
        "topics": max((report["topics"] for report in reports), default=0),
        "sums": {name: sum(report[name] for report in reports) for name in _SUMS},
        "per_second": _sums_of([report["per_second"] for report in reports]),
        "worst": {
            "publish_ms": _worst_of(report["publish_ms"] for report in reports),
            "delivery_ms": _worst_of(report["delivery_ms"] for report in reports),
            "loop_ms": _worst_of(report["loop_ms"] for report in reports),
            "redis_ms": _worst_of(report["redis_ms"] for report in reports),
        },
        "problems": list(_problems(reports)),
    }


def _sums_of(all_rates: Sequence[dict[str, float]]) -> dict[str, float]:
    names = all_rates[0] if all_rates else ()
    return {name: round(sum(rates[name] for rates in all_rates), 1) for name in names}


def _worst_of(values: Iterable[Any]) -> Any:
    """Return the greatest of numbers, or the list with the greatest last one; None for nothing."""
    known = [value for value in values if value is not None]
    return max(known, key=lambda each: each[-1] if isinstance(each, list) else each, default=None)


def _problems(reports: Sequence[Report]) -> Iterator[str]:
    if not reports:
        yield "no node reports: none is running, or none reaches Redis"
    if len(versions := sorted({report["version"] for report in reports})) > 1:
        yield f"nodes of several releases run together: {', '.join(versions)}"
    for report in reports:
        for problem in _problems_of(report):
            yield f"{report['id']}: {problem}"


def _problems_of(report: Report) -> Iterator[str]:
    if (late := report["loop_ms"]) is not None and late >= LATE_MS:
        yield f"its event loop was late by {late:.0f} ms; look for handlers that block"
    if (redis_ms := report["redis_ms"]) is not None and redis_ms >= REDIS_MS:
        yield f"Redis took {redis_ms:.0f} ms to answer"
    if (busy := report["processor"]) >= BUSY:
        yield f"it uses {100 * busy:.0f} % of a processor; start another worker"
    if slow := report["slow"]:
        sessions = "1 session reads" if slow == 1 else f"{slow} sessions read"
        yield f"{sessions} more slowly than messages come"
    if (waiting := report["waiting_bytes"]) >= WAITING_BYTES:
        yield f"{waiting / 1024 / 1024:.0f} MiB wait for its clients"
    if dropped := report["per_second"]["dropped"]:
        yield f"{dropped:.0f} messages a second are dropped for slow clients"
