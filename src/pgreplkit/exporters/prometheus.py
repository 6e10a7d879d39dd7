"""Collector: the samples of a watch as metrics for prometheus_client."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from pgreplkit._sync.cluster.watch import Watch
from pgreplkit.errors.extras import needs_extra
from pgreplkit.exporters.latest import LatestSample
from pgreplkit.monitoring.metrics import METRICS, Counters, Metric, MetricKind, Point, points_of

with needs_extra("prometheus", "prometheus_client"):
    from prometheus_client import Metric as Family
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector as BaseCollector


class Collector(BaseCollector):
    """A collector for prometheus_client: each scrape takes one round of a watch.

    >>> from prometheus_client import REGISTRY, start_http_server
    >>> watch = Watch({"db1": "host=db1"}, interval=5)  # doctest: +SKIP
    >>> REGISTRY.register(Collector(watch))  # doctest: +SKIP
    >>> server, thread = start_http_server(9187)  # doctest: +SKIP

    Scrapes within the watch's interval get the same sample. Close the watch to end.

    Needs:
        The extra ``prometheus``.
    """

    def __init__(self, watch: Watch) -> None:
        self._latest = LatestSample(watch)
        self._counters = Counters()
        self._lock = threading.Lock()

    def describe(self) -> Iterator[Family]:
        """Yield the metrics without values, so that registering asks no server."""
        yield from map(_family, METRICS.values())

    def collect(self) -> Iterator[Family]:
        """Yield the metrics of a sample; none if the watch is closed."""
        sample = self._latest.get()
        if sample is None:
            return
        with self._lock:
            points = [*self._counters.grown(points_of(sample))]
        yield from _families(points)


def _families(points: list[Point]) -> list[Family]:
    families: dict[str, Family] = {}
    for point in points:
        family = families.get(point.metric.name)
        if family is None:
            family = families[point.metric.name] = _family(point.metric)
        suffix = "" if point.metric.kind is MetricKind.GAUGE else "_total"
        labels = dict(zip(point.metric.label_names, point.labels, strict=True))
        family.add_sample(f"{family.name}{suffix}", labels, point.value)
    return [*families.values()]


def _family(metric: Metric) -> Family:
    kind = GaugeMetricFamily if metric.kind is MetricKind.GAUGE else CounterMetricFamily
    return kind(f"pgreplkit_{metric.name}", metric.about, labels=metric.label_names)
