"""The metrics of feeds, as prometheus_client gets them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pgreplkit import LSN
from pgreplkit.feeds import FeedState, Fleet
from pgreplkit.feeds.fleet import FeedStatus
from pgreplkit.values.rows import Rows

ORDERS = FeedStatus(
    name="orders",
    slot="orders_slot",
    state=FeedState.STREAMING,
    position=LSN("1/2345678"),
    lag=timedelta(milliseconds=1250),
    messages=12_345_678,
    parked=2,
    since=None,
    retry_in=None,
    error=None,
    failures=1,
)
FAILED = FeedStatus(
    name='a"b\\c\nd',
    slot="x",
    state=FeedState.FAILED,
    position=None,
    lag=None,
    messages=0,
    parked=0,
    since=None,
    retry_in=None,
    error="SinkRefused: bad",
    failures=0,
)


class Rested(Fleet):
    """A fleet with the status of two feeds."""

    def __init__(self) -> None:
        pass

    def status(self) -> Rows[FeedStatus]:
        return Rows([ORDERS, FAILED])


def test_metrics_have_the_values_of_each_feed() -> None:
    prometheus = pytest.importorskip("prometheus_client")
    from pgreplkit.metrics import FeedCollector

    registry = prometheus.CollectorRegistry()
    registry.register(FeedCollector(Rested()))

    def value(name: str, feed: FeedStatus, **more: str) -> float | None:
        labels = {"feed": feed.name, "slot": feed.slot, **more}
        found: float | None = registry.get_sample_value(f"pgreplkit_feed_{name}", labels)
        return found

    assert value("healthy", ORDERS) == 1
    assert value("healthy", FAILED) == 0
    assert value("failures", ORDERS) == 1
    assert value("lag_seconds", ORDERS) == 1.25
    assert value("position_bytes", ORDERS) == int(LSN("1/2345678"))
    assert value("messages_total", ORDERS) == 12_345_678
    assert value("parked_total", ORDERS) == 2
    assert value("state", ORDERS, state="streaming") == 1
    assert value("state", FAILED, state="streaming") == 0
    assert value("state", FAILED, state="failed") == 1
    # An unknown number has no value.
    assert value("lag_seconds", FAILED) is None
    assert value("position_bytes", FAILED) is None
    # Names are escaped where the text is written.
    assert 'feed="a\\"b' in prometheus.generate_latest(registry).decode()
