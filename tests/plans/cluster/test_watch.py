"""Samples of several servers: rates, lag behind the primary, and flat records."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from hypothesis import given, strategies as st
from logicalfacts import slot_state
from serverfacts import NOW, sender

from pgreplkit import LSN
from pgreplkit.errors import ConnectionFailed
from pgreplkit.plans.cluster.watch import compared
from pgreplkit.rows import LagReason, NodeSample, ReplayLag, WatchSample, WatchSamples

CAUGHT_UP = ReplayLag(
    bytes=0,
    time=timedelta(0),
    stage=None,
    reason=LagReason.CAUGHT_UP,
    heard_at=NOW,
    age=timedelta(0),
    clock_difference=None,
)


def sample(name: str = "s", **changed: object) -> NodeSample:
    facts: dict[str, object] = {"system_id": 7, "is_primary": False, "observed_at": NOW}
    return NodeSample(name=name, **facts | changed)  # type: ignore[arg-type]


def round_of(*nodes: NodeSample) -> WatchSample:
    return WatchSample(taken_at=NOW, nodes={node.name: node for node in nodes})


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(-5, 100))
def test_the_rate_is_the_written_wal_in_a_second(first: int, second: int, seconds: int) -> None:
    before = round_of(sample(lsn=LSN(first)))
    now = sample(lsn=LSN(second), observed_at=NOW + timedelta(seconds=seconds))
    rate = compared(now, before).wal_rate
    if seconds <= 0:
        assert rate is None
    else:
        # After a promotion of another standby a position can be lower than before.
        assert rate == pytest.approx(max(0, second - first) / seconds)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (None, sample(lsn=LSN(5))),
        (round_of(sample("other", lsn=LSN(1))), sample(lsn=LSN(5))),
        (round_of(sample(lsn=None)), sample(lsn=LSN(5))),
        (round_of(sample(lsn=LSN(1))), sample(lsn=None)),
        (round_of(sample(lsn=LSN(1), observed_at=None)), sample(lsn=LSN(5))),
        (round_of(sample(lsn=LSN(1))), sample(error=ConnectionFailed("connect", "refused"))),
    ],
)
def test_without_two_positions_there_is_no_rate(
    before: WatchSample | None, now: NodeSample
) -> None:
    assert compared(now, before).wal_rate is None


PRIMARY = sample("p", is_primary=True, lsn=LSN(500))


@pytest.mark.parametrize(
    ("before", "lsn", "behind"),
    [
        (round_of(PRIMARY), 400, 100),
        (round_of(PRIMARY, sample("q", is_primary=True, lsn=LSN(900))), 400, 500),
        (round_of(PRIMARY), 500, None),
        (round_of(PRIMARY), 600, None),
        (round_of(attrs.evolve(PRIMARY, system_id=8)), 400, None),
        (round_of(attrs.evolve(PRIMARY, is_primary=False)), 400, None),
        (round_of(attrs.evolve(PRIMARY, lsn=None)), 400, None),
    ],
)
def test_a_standby_that_has_all_of_its_upstream_may_be_behind_the_primary(
    before: WatchSample, lsn: int, behind: int | None
) -> None:
    lag = compared(sample(lsn=LSN(lsn), lag=CAUGHT_UP), before).lag
    assert lag is not None
    if behind is None:
        assert lag == CAUGHT_UP
    else:
        assert (lag.reason, lag.bytes, lag.time) == (LagReason.UPSTREAM_BEHIND, behind, None)


def test_a_lag_with_another_reason_stays() -> None:
    paused = attrs.evolve(CAUGHT_UP, reason=LagReason.PAUSED, bytes=3)
    assert compared(sample(lsn=LSN(1), lag=paused), round_of(PRIMARY)).lag == paused


def test_records_are_flat_and_have_the_same_keys_for_every_server() -> None:
    slots = (slot_state(), slot_state(restart_lsn=LSN("0/3000001")))
    senders = (sender(replay_lsn=LSN("0/3000000")), sender(replay_lsn=None))
    primary = sample("p", is_primary=True, lsn=LSN(16), slots=slots, senders=senders)
    standby = sample("s", lag=attrs.evolve(CAUGHT_UP, time=timedelta(milliseconds=1500)))
    lost = NodeSample(name="l", error=ConnectionFailed("connect", "refused"))
    one = round_of(primary, standby, lost)
    records = WatchSamples((one, one)).to_records()
    assert len(records) == 6
    first, second, third = records[:3]
    assert first.keys() == second.keys() == third.keys()
    assert (first["role"], second["role"], third["role"]) == ("primary", "standby", None)
    assert (first["taken_at"], first["lsn"]) == (NOW, 16)
    assert (first["senders"], first["senders_lag_bytes"]) == (2, 0x100)
    # The slot that is furthest behind retains the WAL of the others, too.
    assert (first["slots"], first["retained_bytes"]) == (2, 0x100)
    # Nothing was counted on a server that did not answer.
    assert third["retained_bytes"] is lost.to_dict()["retained_bytes"] is None
    assert second["lag_time"] == timedelta(milliseconds=1500)
    assert second["lag_reason"] == "caught up"
    assert (third["senders"], third["slots"], third["retained_bytes"]) == (None, None, None)
    assert "refused" in str(third["error"])


def test_samples_are_a_sequence_and_slices_are_samples() -> None:
    rounds = [round_of(sample(lsn=LSN(number))) for number in range(4)]
    samples = WatchSamples(tuple(rounds))
    assert (len(samples), samples[1], [*samples]) == (4, rounds[1], rounds)
    assert samples[1:3] == WatchSamples(tuple(rounds[1:3]))
    assert samples[0]["s"].lsn == LSN(0)
