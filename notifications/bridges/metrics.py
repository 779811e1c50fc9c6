"""Metrics: how the bridges are doing, for Prometheus, whichever process is asked."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final

from django.http import HttpResponse
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from redis import RedisError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from notifications.api.access import MayViewMetrics
from notifications.api.errors import RedisAway

from .routes import incoming_routes
from .status import RouteStatus, read_status

logger = logging.getLogger(__name__)

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


class BridgeCollector(Collector):
    """The routes that lead in; see :func:`.read_status`."""

    def collect(self) -> Iterable[Metric]:
        statuses = read_status(incoming_routes())
        yield _owners(statuses)
        yield _problems(statuses)
        for name, text in _GAUGES.items():
            yield _filled(
                GaugeMetricFamily(f"bridge_{name}", text, labels=["route"]), statuses, name
            )
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

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """Let ``get`` choose among Prometheus' formats; errors are JSON."""
        return JSONRenderer(), JSONRenderer.media_type

    def get(self, request: Request) -> HttpResponse:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(BridgeCollector())
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        try:
            return HttpResponse(encode(registry), content_type=content_type)
        except RedisError as error:
            logger.warning("Redis did not tell how the bridges are: %s", error)
            raise RedisAway from None
