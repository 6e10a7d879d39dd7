"""FeedCollector: the status of feeds as metrics for prometheus_client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product

from pgreplkit._async.feeds.fleet import AsyncFleet
from pgreplkit._sync.feeds.fleet import Fleet
from pgreplkit.errors.extras import needs_extra
from pgreplkit.feeds.fleet import FeedStatus
from pgreplkit.feeds.states import FeedState

with needs_extra("prometheus", "prometheus_client"):
    from prometheus_client import Metric as Family
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector as BaseCollector

_LABELS = ("feed", "slot")
_GAUGES: Mapping[str, tuple[str, Callable[[FeedStatus], float | None]]] = {
    "healthy": (
        "0 if the feed has failed, or has waited for some 5 minutes.",
        lambda one: one.is_healthy,
    ),
    "failures": ("Attempts that have failed one after the other.", lambda one: one.failures),
    "lag_seconds": (
        "Age of the last commit when the sink had stored it.",
        lambda one: None if one.lag is None else one.lag.total_seconds(),
    ),
    "position_bytes": (
        "Position in the WAL up to which the sink has changes.",
        lambda one: None if one.position is None else int(one.position),
    ),
}
_COUNTERS: Mapping[str, tuple[str, Callable[[FeedStatus], float | None]]] = {
    "messages": ("Messages that the sink has stored.", lambda one: one.messages),
    "parked": ("Changes that the sink refused, and that were replaced.", lambda one: one.parked),
}


class FeedCollector(BaseCollector):
    """A collector for prometheus_client: each scrape reads the status of a fleet's feeds.

    >>> from prometheus_client import REGISTRY, start_http_server
    >>> fleet = Fleet({"orders": orders, "users": users})  # doctest: +SKIP
    >>> REGISTRY.register(FeedCollector(fleet))  # doctest: +SKIP
    >>> server, thread = start_http_server(9187)  # doctest: +SKIP

    Needs:
        The extra ``prometheus``.
    """

    def __init__(self, fleet: Fleet | AsyncFleet) -> None:
        self._fleet = fleet

    def collect(self) -> Iterator[Family]:
        """Yield the metrics of each feed; no server is asked."""
        rows = self._fleet.status()
        for kind, metrics in ((GaugeMetricFamily, _GAUGES), (CounterMetricFamily, _COUNTERS)):
            for name, (about, value_of) in metrics.items():
                family = kind(f"pgreplkit_feed_{name}", about, labels=_LABELS)
                yield _filled(family, ((row, value_of(row)) for row in rows))
        about, labels = "1 for the state of the feed, 0 for the others.", (*_LABELS, "state")
        states = GaugeMetricFamily("pgreplkit_feed_state", about, labels=labels)
        for row, state in product(rows, FeedState):
            states.add_metric((row.name, row.slot, state.value), row.state is state)
        yield states


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily,
    values: Iterable[tuple[FeedStatus, float | None]],
) -> Family:
    for row, value in values:
        # Unknown, which 0 would hide.
        if value is not None:
            family.add_metric((row.name, row.slot), value)
    return family
