"""
Metrics: what this process says of itself to Prometheus, as plain numbers.

They are read when somebody asks, from :mod:`.counters` and from the live sessions. No metric has a
user, a topic, an address or a session as its label: whatever clients do, the series stay few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from realtime.access.limits import outage, refusals
from realtime.counters import BOUNDS, Door, Histogram, counters
from realtime.sessions.node import nodes
from realtime.sse.events import VERSION as SSE

#: Of one metric: a number for each value of its label, for "" if it has none. Of a histogram: how
#: many fell into the bucket below each bound, and "sum".
Values = Mapping[str, float]

#: Of one process, or of several added up: under "totals" what only grows, under "now" what there is
#: at the moment; by the names of metrics. JSON can say it.
Figures = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True, slots=True)
class Metric:
    """
    One metric.

    Args:
        name: Without the ``_total`` that Prometheus wants after the name of a counter.
        read: Returns its values in this process.
        label: What its label is called; "" if it has none.
    """

    name: str
    text: str
    read: Callable[[], Values]
    label: str = ""


def figures() -> Figures:
    """Return those of this process; from any thread."""
    return {
        "totals": {each.name: dict(each.read()) for each in (*COUNTERS, *HISTOGRAMS)},
        "now": {each.name: dict(each.read()) for each in GAUGES},
    }


def _by_key(counter: Counter[Any]) -> Values:
    return {str(key): count for key, count in dict(counter).items()}


def _by_command() -> Values:
    return {event.__name__.upper(): count for event, count in dict(counters.requests).items()}


def _by_door() -> Values:
    return dict.fromkeys(get_args(Door), 0) | dict(counters.published)


def _buckets(histogram: Histogram) -> Values:
    bounds = [*map(str, BOUNDS), "+Inf"]
    return {**dict(zip(bounds, histogram.counts, strict=True)), "sum": histogram.sum}


def _total(number: Callable[[], float]) -> Callable[[], Values]:
    return lambda: {"": number()}


def _over_nodes(name: str) -> Callable[[], Values]:
    """Return how to read what all nodes of this process have to do, by a name of a Load."""
    return _total(lambda: sum([getattr(node.load(), name) for node in tuple(nodes)]))


def _sessions() -> Values:
    versions = [each.session.version for node in tuple(nodes) for each in node.members]
    events = versions.count(SSE)
    return {"stomp": len(versions) - events, "sse": events}


COUNTERS: Final = (
    Metric(
        "gateway_sessions_started",
        "Sessions that began, streams of server-sent events too",
        _total(lambda: counters.sessions),
    ),
    Metric(
        "gateway_sessions_failed",
        "Sessions that ended with an error, by its code",
        lambda: _by_key(counters.ended),
        "code",
    ),
    Metric("gateway_requests", "Frames of clients, by their command", _by_command, "command"),
    Metric(
        "gateway_received_bytes",
        "Bytes of frames that came from STOMP clients",
        _total(lambda: counters.bytes_in),
    ),
    Metric(
        "gateway_sent_bytes",
        "Bytes of messages that were handed to clients' outboxes, as frames",
        _total(lambda: counters.bytes_out),
    ),
    Metric(
        "gateway_published_messages",
        "Messages that were handed to Redis, by the way they came in",
        _by_door,
        "door",
    ),
    Metric(
        "gateway_delivered_messages",
        "Messages that were handed to subscriptions, once for each of them",
        _total(lambda: counters.delivered),
    ),
    Metric(
        "gateway_dropped_messages",
        "Messages that slow clients did not get, by the policy of their topics",
        _total(lambda: counters.dropped),
    ),
    Metric(
        "gateway_gaps",
        "Times that a history was read because messages seemed to be missing",
        _total(lambda: counters.gaps),
    ),
    Metric(
        "gateway_gaps_lost",
        "Times that what was missing was not in the history any more",
        _total(lambda: counters.lost),
    ),
    Metric(
        "gateway_resumes",
        "Subscriptions that went on after a message: whole, or why not",
        lambda: {"whole": 0, **_by_key(counters.resumes)},
        "result",
    ),
    Metric(
        "gateway_redis_reconnections",
        "Lost connections to Redis that were replaced",
        _total(lambda: counters.reconnections),
    ),
    Metric(
        "gateway_failed_logins",
        "Logins with wrong credentials",
        _total(lambda: counters.audited["login-failed"]),
    ),
    Metric(
        "gateway_held_back_logins",
        "Logins that had to wait since others had failed before",
        _total(lambda: counters.audited["login-held-back"]),
    ),
    Metric(
        "gateway_refused_by_rule",
        "What may not be done, by the rule that says so; none if none covers it, unasked if"
        " something else forbids it",
        lambda: _by_key(counters.refused),
        "rule",
    ),
    Metric(
        "gateway_refusals",
        "What was refused, or slowed down, since it is over a limit, by the reason",
        lambda: _by_key(refusals.counts),
        "reason",
    ),
    Metric(
        "gateway_http_responses",
        "Answers to HTTP requests, by their status",
        lambda: _by_key(counters.responses),
        "status",
    ),
)

HISTOGRAMS: Final = (
    Metric(
        "gateway_publish_seconds",
        "From publishing until Redis has the message; of two messages a second",
        lambda: _buckets(counters.publish_seconds),
    ),
    Metric(
        "gateway_delivery_seconds",
        "From publishing until the process has written the message to its own clients; of two"
        " messages a second",
        lambda: _buckets(counters.delivery_seconds),
    ),
    Metric(
        "gateway_loop_lag_seconds",
        "By how much the event loop was late",
        lambda: _buckets(counters.loop_seconds),
    ),
)

GAUGES: Final = (
    Metric("gateway_processes", "Server processes whose figures these are", _total(lambda: 1)),
    Metric("gateway_sessions", "Live sessions", _sessions, "kind"),
    Metric("gateway_subscriptions", "Subscriptions of live sessions", _over_nodes("subscriptions")),
    Metric(
        "gateway_outbox_bytes", "Bytes that wait for clients to read", _over_nodes("waiting_bytes")
    ),
    Metric(
        "gateway_slow_sessions",
        "Sessions that read more slowly than messages come",
        _over_nodes("slow"),
    ),
    Metric(
        "gateway_database_away",
        "Server processes for which the database is away",
        _total(lambda: bool(outage.reason)),
    ),
)
