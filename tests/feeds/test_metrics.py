"""The metrics of feeds."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pgreplkit import LSN
from pgreplkit.feeds import FeedState
from pgreplkit.feeds.fleet import FeedStatus
from pgreplkit.feeds.metrics import metrics_text

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


def test_metrics_have_the_values_of_each_feed() -> None:
    text = metrics_text([ORDERS, FAILED])
    of = 'feed="orders",slot="orders_slot"'
    for line in (
        f"pgreplkit_feed_healthy{{{of}}} 1",
        f"pgreplkit_feed_failures{{{of}}} 1",
        f"pgreplkit_feed_lag_seconds{{{of}}} 1.25",
        f"pgreplkit_feed_position_bytes{{{of}}} 4331951736",
        f"pgreplkit_feed_messages_total{{{of}}} 12345678",
        f"pgreplkit_feed_parked_total{{{of}}} 2",
        f'pgreplkit_feed_state{{{of},state="streaming"}} 1',
        f'pgreplkit_feed_state{{{of},state="failed"}} 0',
        'pgreplkit_feed_healthy{feed="a\\"b\\\\c\\nd",slot="x"} 0',
        "# TYPE pgreplkit_feed_messages_total counter",
    ):
        assert line in text.splitlines()
    # What is not known has no value.
    assert text.count("pgreplkit_feed_lag_seconds{") == 1
    assert text.count("pgreplkit_feed_position_bytes{") == 1


def test_prometheus_reads_the_metrics() -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    families = list(parser.text_string_to_metric_families(metrics_text([ORDERS, FAILED])))
    assert len(families) == 7
    assert {sample.labels["feed"] for family in families for sample in family.samples} == {
        *("orders", 'a"b\\c\nd')
    }
