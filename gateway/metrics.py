"""Metrics: what ``/metrics`` tells, of all workers whichever is asked, and a port of its own."""

from __future__ import annotations

import logging
import platform
import socket
import threading
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from django.conf import settings
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from notifications.bridges.metrics import RedisCollector
from realtime import __version__
from realtime.metrics import COUNTERS, GAUGES, HISTOGRAMS, Figures, Values, figures

from .processes import shared

logger = logging.getLogger(__name__)

_writing: Final = threading.Lock()  # or older figures may take the place of newer ones


def write_figures() -> None:
    """Let the other workers see what this one counts; where there are none, do nothing."""
    if (folder := shared.folder()) is None:
        return
    with _writing:
        try:
            shared.write(folder, figures())
        except OSError as error:
            logger.warning("the other workers can't see what this one counts: %s", error)


def all_figures() -> Figures:
    """Return what all workers have counted."""
    folder = shared.folder()
    if folder is None:
        return figures()
    write_figures()
    return shared.read(folder)


class FiguresCollector(Collector):
    """What :mod:`realtime.metrics` knows of all workers."""

    def collect(self) -> Iterable[Metric]:
        found = all_figures()
        for each in GAUGES:
            gauge = GaugeMetricFamily(each.name, each.text, labels=_labels(each.label))
            yield _filled(gauge, found["now"].get(each.name, {}))
        for each in COUNTERS:
            counter = CounterMetricFamily(each.name, each.text, labels=_labels(each.label))
            yield _filled(counter, found["totals"].get(each.name, {}))
        for each in HISTOGRAMS:
            buckets, total = _cumulative(found["totals"][each.name])
            yield HistogramMetricFamily(each.name, each.text, buckets, total)


def _labels(label: str) -> list[str]:
    return [label] if label else []


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily, values: Values
) -> GaugeMetricFamily | CounterMetricFamily:
    for key, value in values.items():
        family.add_metric([key] if key else [], value)
    return family


def _cumulative(values: Values) -> tuple[list[tuple[str, float]], float]:
    """Return how many were at most as long as each bound, and how long all took together."""
    count, buckets = 0.0, []
    for bound in sorted(values.keys() - {"sum"}, key=float):
        count += values[bound]
        buckets.append((bound, count))
    return buckets, values["sum"]


class ProcessesCollector(Collector):
    """What the kernel knows of this process, or of each worker, by its ``pid``."""

    def collect(self) -> Iterable[Metric]:
        folder = shared.folder()
        if folder is None:
            return ProcessCollector(registry=None).collect()
        families: dict[str, Metric] = {}
        for pid in shared.pids(folder):
            for one in ProcessCollector(pid=partial(str, pid), registry=None).collect():
                family = Metric(one.name, one.documentation, one.type)
                family = families.setdefault(one.name, family)
                for name, _, value, *_ in one.samples:
                    family.add_sample(name, {"pid": pid}, value)
        return families.values()


class BuildCollector(Collector):
    """Which release runs, and on what."""

    def collect(self) -> Iterable[Metric]:
        build = {"version": __version__, "python": platform.python_version()}
        yield InfoMetricFamily("gateway_build", "The release that runs, and its Python", build)


#: All that there is to tell.
registry: Final = CollectorRegistry(auto_describe=False)
for _collector in (FiguresCollector, RedisCollector, ProcessesCollector, BuildCollector):
    registry.register(_collector())


def listen() -> None:
    """Tell it on METRICS_PORT too, without a login, once daphne runs; if there is such a port."""
    if settings.METRICS_PORT:
        from twisted.internet import reactor

        reactor.callWhenRunning(_listen, reactor)


def _listen(reactor: Any) -> None:
    from prometheus_client.twisted import MetricsResource
    from twisted.internet.error import CannotListenError
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    root = Resource()
    root.putChild(b"metrics", MetricsResource(registry))
    site = Site(root)
    port, address = settings.METRICS_PORT, settings.METRICS_ADDRESS
    for descriptor in shared.inherited():  # all workers listen on it
        listener = socket.socket(fileno=descriptor)
        reactor.adoptStreamPort(descriptor, listener.family, site)
        listener.detach()
        return
    try:
        reactor.listenTCP(port, site, interface=address)
    except CannotListenError as error:
        logger.error("METRICS_PORT: can't use port %d of %s: %s", port, address, error.socketError)
