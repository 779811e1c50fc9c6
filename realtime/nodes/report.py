"""Report: what a node tells of itself, again and again: how much there is, and how fast it goes."""

from __future__ import annotations

import os
import platform
import resource
import time
from pathlib import Path
from typing import Any, Final

from realtime import __version__
from realtime.counters import Histogram, counters
from realtime.sessions.node import Node
from realtime.sessions.revocation import USERS
from realtime.stomp import events

from .inquiry import QUESTIONS

#: What grows, and is told as so much a second.
_RATES: Final = ("messages_in", "published", "delivered", "dropped", "bytes_in", "bytes_out")

#: Where nodes are told something: no topics.
_NOTICES: Final = frozenset({USERS, QUESTIONS})

_PAGE_BYTES: Final = resource.getpagesize()


class Reporter:
    """
    Makes the reports of one node; a report is a dict that JSON can say::

        id, host, pid, version       which process it is; of which release
        started_at                   Unix seconds
        sessions, topics             how many there are now; topics and patterns that are heard
        subscriptions                of all sessions
        slow, waiting_bytes          sessions that read too slowly; what waits for all
        per_second                   messages_in, published, delivered, dropped, bytes_in, bytes_out
        publish_ms, delivery_ms      p50 and p99 of the last minute, or None: until Redis has a
                                     message, until this process has written it to its clients
        loop_ms                      by how much the event loop was late at most
        redis_ms                     how long Redis took for the last report; None if it is away
        memory_bytes, processor      of the process; 1.0 is a whole processor
        totals                       counters since the start: ended, resumes (by what), gaps, lost,
                                     reconnections, dropped

    Args:
        node: Whose they are.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._before = _Reading()
        #: How long Redis took for the last report, in seconds; None if it is away.
        self.redis_seconds: float | None = None

    def report(self) -> dict[str, Any]:
        """Return what there is to tell now; rates are those since the call before."""
        before, now = self._before, _Reading()
        self._before = now
        return {
            **_identity(self._node.id),
            **self._node.load()._asdict(),
            "topics": len(self._node.hub.destinations - _NOTICES),
            "per_second": now.rates_since(before),
            "publish_ms": _quantiles(counters.publish_seconds.quantiles(0.5, 0.99)),
            "delivery_ms": _quantiles(counters.delivery_seconds.quantiles(0.5, 0.99)),
            "loop_ms": _milliseconds(_most(counters.loop_seconds)),
            "redis_ms": _milliseconds(self.redis_seconds),
            "memory_bytes": memory_bytes(),
            "processor": now.processor_since(before),
            "totals": _totals(),
        }


class _Reading:
    """The counters at one time."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._processor = time.process_time()
        self._numbers = (
            counters.requests[events.Send],
            counters.published.total(),
            counters.delivered,
            counters.dropped,
            counters.bytes_in,
            counters.bytes_out,
        )

    def rates_since(self, before: _Reading) -> dict[str, float]:
        seconds = max(self._at - before._at, 0.001)
        grown = zip(_RATES, self._numbers, before._numbers, strict=True)
        return {name: round((now - then) / seconds, 1) for name, now, then in grown}

    def processor_since(self, before: _Reading) -> float:
        return round((self._processor - before._processor) / max(self._at - before._at, 0.001), 3)


def _identity(node_id: str) -> dict[str, Any]:
    return {
        "id": node_id,
        "host": platform.node(),
        "pid": os.getpid(),
        "version": __version__,
        "started_at": _STARTED_AT,
    }


def _totals() -> dict[str, Any]:
    return {
        "ended": dict(counters.ended),
        "resumes": dict(counters.resumes),
        "gaps": counters.gaps,
        "lost": counters.lost,
        "reconnections": counters.reconnections,
        "dropped": counters.dropped,
    }


def _quantiles(seconds: list[float] | None) -> list[float] | None:
    return None if seconds is None else [round(each * 1000, 2) for each in seconds]


def _most(durations: Histogram) -> float | None:
    newest = durations.quantiles(1.0, within=5.0)
    return None if newest is None else newest[0]


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)


def memory_bytes() -> int:
    """Return what the process has in memory now; where /proc is missing, at most so far."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


_STARTED_AT: Final = time.time()
