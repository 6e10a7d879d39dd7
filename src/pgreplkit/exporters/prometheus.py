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
    from prometheus_client.samples import Sample


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
    # By metric and not by point, of which there are thousands.
    by_metric: dict[str, list[Point]] = {}
    for point in points:
        by_metric.setdefault(point.metric.name, []).append(point)
    return [_filled(METRICS[name], found) for name, found in by_metric.items()]


def _filled(metric: Metric, points: list[Point]) -> Family:
    family, names = _family(metric), metric.label_names
    name = family.name if metric.kind is MetricKind.GAUGE else f"{family.name}_total"
    family.samples = [
        Sample(name, dict(zip(names, labels, strict=True)), value) for _, labels, value in points
    ]
    return family


def _family(metric: Metric) -> Family:
    kind = GaugeMetricFamily if metric.kind is MetricKind.GAUGE else CounterMetricFamily
    return kind(f"pgreplkit_{metric.name}", metric.about, labels=metric.label_names)
