"""
Metrics: whether Redis answers, and how the bridges are doing, for Prometheus, whichever process is
asked. Where Redis does not answer soon, what it would tell is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from django.http import HttpResponse
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from notifications.api.access import MayViewMetrics
from realtime.conf import conf
from realtime.redis import REDIS_ERRORS, execute_all

from .routes import incoming_routes
from .status import RouteStatus, read_status
from .store import client_to, key_of

T = TypeVar("T")

#: Seconds that Redis has for each question: a scrape must not wait for one that is away.
ANSWER_SECONDS: Final = 1.0

#: What waits for Redis longer than that; what finds none of them free counts as not answered.
_threads: Final = ThreadPoolExecutor(4, thread_name_prefix="metrics")

#: Each is a number of :class:`.RouteStatus`.
_GAUGES: Final = {
    "lag": "Entries of the stream that were not read yet",
    "pending": "Entries that were read, and neither consumed nor dead-lettered yet",
    "rate": "Messages consumed in the last second",
    "dead_letters": "Messages that could not be delivered, and are kept",
}
_COUNTERS: Final = {
    "messages": "Messages that were consumed, whichever process did it",
    "dead_lettered": "Messages that became dead letters",
    "errors": "Attempts that failed, and lost connections",
}


class RedisCollector(Collector):
    """Redis, and the routes that lead in; see :func:`.read_status`."""

    def collect(self) -> Iterable[Metric]:
        seconds = _in_time(_round_trip)
        text = f"Whether the gateway's Redis answers within {ANSWER_SECONDS:g} s"
        yield GaugeMetricFamily("gateway_redis_up", text, float(seconds is not None))
        if seconds is None:
            return
        yield GaugeMetricFamily(
            "gateway_redis_round_trip_seconds", "How long an answer took just now", seconds
        )
        statuses = _in_time(read_status, incoming_routes())
        if statuses is not None:
            yield from _families(statuses)


def _in_time(ask: Callable[..., T], *args: object) -> T | None:
    """Return what Redis answers, or None if it does not, or not soon."""
    future = _threads.submit(ask, *args)
    try:
        return future.result(ANSWER_SECONDS)
    except REDIS_ERRORS:
        future.cancel()
        return None


def _round_trip() -> float:
    began = time.perf_counter()
    execute_all(client_to(conf.REDIS_URL), [("EXISTS", key_of("", "none"))])
    return time.perf_counter() - began


def _families(statuses: list[RouteStatus]) -> Iterable[Metric]:
    yield _owners(statuses)
    yield _problems(statuses)
    for name, text in _GAUGES.items():
        yield _filled(GaugeMetricFamily(f"bridge_{name}", text, labels=["route"]), statuses, name)
    for name, text in _COUNTERS.items():
        counter = CounterMetricFamily(f"bridge_{name}", text, labels=["route"])
        yield _filled(counter, statuses, name)


def _owners(statuses: Iterable[RouteStatus]) -> Metric:
    text = "Whether a process consumes the route, and which"
    family = GaugeMetricFamily("bridge_owned", text, labels=["route", "owner"])
    for status in statuses:
        family.add_metric([status.id, status.owner or ""], float(status.owner is not None))
    return family


def _problems(statuses: Iterable[RouteStatus]) -> Metric:
    text = "Whether lag and pending entries of a stream are not known; bridge --list says why"
    family = GaugeMetricFamily("bridge_problem", text, labels=["route"])
    for status in statuses:
        family.add_metric([status.id], float(status.problem is not None))
    return family


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily, statuses: Iterable[RouteStatus], name: str
) -> Metric:
    """Return a metric with what is known of each route."""
    for status in statuses:
        value = getattr(status, name)
        if value is not None:
            family.add_metric([status.id], value)
    return family


class MetricsView(APIView):
    """Metrics for Prometheus, which sends a token as ``authorization``."""

    permission_classes = (MayViewMetrics,)
    throttle_classes = ()  # they ask Redis
    #: What is told; a project may have more to tell.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(RedisCollector())

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """Let ``get`` choose among Prometheus' formats; errors are JSON."""
        return JSONRenderer(), JSONRenderer.media_type

    def get(self, request: Request) -> HttpResponse:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return HttpResponse(encode(self.registry), content_type=content_type)
