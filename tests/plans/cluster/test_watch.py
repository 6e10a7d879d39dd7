"""Watch samples: records, and what follows from the previous sample."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import attrs
from hypothesis import given, strategies as st

from pgreplkit import (
    LSN,
    ConnectionFailed,
    LagReason,
    NodeSample,
    ReplayLag,
    WatchSample,
    WatchSamples,
)
from pgreplkit.plans.cluster.watch import compared

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CAUGHT_UP = ReplayLag(
    bytes=0,
    time=timedelta(0),
    stage=None,
    reason=LagReason.CAUGHT_UP,
    heard_at=NOW,
    age=timedelta(0),
    clock_difference=None,
)


def node(name: str, lsn: int, *, seconds: float = 0, **changed: object) -> NodeSample:
    sample = NodeSample(
        name=name,
        is_primary=True,
        system_id=7,
        timeline=1,
        lsn=LSN(lsn),
        observed_at=NOW + timedelta(seconds=seconds),
    )
    return attrs.evolve(sample, **changed)  # type: ignore[arg-type]


def sample(*nodes: NodeSample) -> WatchSample:
    return WatchSample(taken_at=NOW, nodes={node.name: node for node in nodes})


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40), st.floats(0.01, 1000))
def test_the_wal_rate_is_the_growth_by_the_servers_clock(
    before: int, after: int, seconds: float
) -> None:
    rated = compared(node("a", after, seconds=seconds), sample(node("a", before)))
    assert rated.wal_rate is not None
    elapsed = timedelta(seconds=seconds) / timedelta(seconds=1)
    assert rated.wal_rate == max(0, after - before) / elapsed


def test_there_is_no_rate_without_a_previous_position_or_time() -> None:
    now = node("a", 10, seconds=1)
    assert compared(now, None) == now
    assert compared(now, sample()).wal_rate is None
    assert compared(now, sample(node("a", 5, seconds=1))).wal_rate is None
    assert compared(now, sample(node("a", 5, observed_at=None))).wal_rate is None
    failed = NodeSample(name="a", error=ConnectionFailed("connect", "refused"))
    assert compared(failed, sample(node("a", 5))) == failed


@given(st.integers(0, 100), st.integers(0, 100), st.sampled_from([7, 9]))
def test_a_standby_behind_the_primary_has_not_caught_up_although_its_upstream_has_no_more(
    own: int, written: int, system_id: int
) -> None:
    standby = node("b", own, is_primary=False, lag=CAUGHT_UP)
    lag = compared(standby, sample(node("a", written, system_id=system_id))).lag
    assert lag is not None
    if own < written and system_id == 7:
        assert (lag.reason, lag.bytes) == (LagReason.UPSTREAM_BEHIND, written - own)
        assert lag.time is None
    else:
        assert lag == CAUGHT_UP


def test_records_are_flat_and_have_json_types() -> None:
    failed = NodeSample(name="c", error=ConnectionFailed("connect", "refused"))
    samples = WatchSamples((sample(node("a", 1), failed), sample(node("a", 2))))
    records = samples.to_records()
    assert [record["name"] for record in records] == ["a", "c", "a"]
    assert json.loads(json.dumps(records)) == records
    assert (records[1]["slots"], records[1]["error"]) == (None, "could not connect: refused")
    assert isinstance(samples[:1], WatchSamples)
    assert len(samples[:1]) == 1
    assert samples[0]["a"].retained_bytes == 0
