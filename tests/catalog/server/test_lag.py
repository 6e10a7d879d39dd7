"""The lag of a standby: laws for every combination of facts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN
from pgreplkit.catalog.server.lag import ReplayFacts
from pgreplkit.rows import LagReason, LagStage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BEHIND = ReplayFacts(
    is_streaming=True,
    is_paused=False,
    is_delayed=False,
    received_lsn=LSN(200),
    replayed_lsn=LSN(100),
    upstream_lsn=LSN(300),
    last_commit_time=NOW - timedelta(seconds=5),
    observed_at=NOW,
)
positions = st.none() | st.integers(1, 300).map(LSN)
facts = st.builds(
    ReplayFacts,
    is_streaming=st.booleans(),
    is_paused=st.booleans(),
    is_delayed=st.booleans(),
    received_lsn=positions,
    replayed_lsn=positions,
    upstream_lsn=positions,
    last_commit_time=st.none() | st.integers(-9, 9).map(lambda s: NOW + timedelta(seconds=s)),
    observed_at=st.just(NOW),
)


@pytest.mark.parametrize("reversed_", [False, True])
def test_reasons_have_an_order(reversed_: bool) -> None:
    """Each of these facts decides only where the ones before it do not."""
    order: list[tuple[dict[str, Any], LagReason]] = [
        ({"is_streaming": False}, LagReason.NOT_STREAMING),
        ({"is_paused": True}, LagReason.PAUSED),
        ({"replayed_lsn": LSN(300)}, LagReason.CAUGHT_UP),
        ({"is_delayed": True}, LagReason.DELAYED),
        ({"last_commit_time": None}, LagReason.NO_COMMIT),
    ]
    assert BEHIND.reason is LagReason.REPLAYING
    for place, (changed, reason) in enumerate(order):
        later = {key: value for more, _ in order[place:] for key, value in more.items()}
        given_facts = later if reversed_ else changed
        assert attrs.evolve(BEHIND, **given_facts).reason is reason


@given(facts)
def test_bytes_reach_to_the_furthest_known_position(status: ReplayFacts) -> None:
    known = [lsn for lsn in (status.received_lsn, status.upstream_lsn) if lsn is not None]
    if status.bytes is None:
        assert not status.is_streaming or not known or status.replayed_lsn is None
    else:
        assert status.replayed_lsn is not None
        assert status.replayed_lsn + status.bytes == max(*known, status.replayed_lsn)


@given(facts)
def test_zero_time_means_that_everything_is_replayed(status: ReplayFacts) -> None:
    if status.bytes == 0:
        assert (status.time, status.stage) == (timedelta(0), None)
        assert status.reason in {LagReason.CAUGHT_UP, LagReason.PAUSED}
    elif status.time is not None:
        assert status.reason is not LagReason.CAUGHT_UP
        assert status.last_commit_time == NOW - status.time
    assert status.time is None or status.time >= timedelta(0)


@given(facts)
def test_no_time_has_its_cause_in_the_reason(status: ReplayFacts) -> None:
    is_untimed = {LagReason.NOT_STREAMING, LagReason.NO_COMMIT, LagReason.CLOCKS_DIFFER}
    if status.reason in is_untimed:
        assert status.time is None
    elif status.time is None:
        # Paused or delayed, and the clocks differ or no commit was replayed.
        assert status.reason in {LagReason.PAUSED, LagReason.DELAYED}
        assert status.last_commit_time is None or status.last_commit_time > NOW


@given(facts)
def test_wal_waits_at_the_upstream_or_on_the_standby(status: ReplayFacts) -> None:
    assert (status.stage is None) is (not status.bytes)
    if status.stage is LagStage.REPLAY:
        assert status.received_lsn is not None
        assert status.upstream_lsn is None or status.received_lsn >= status.upstream_lsn
    if status.stage is LagStage.RECEIVE:
        assert status.received_lsn is None or status.upstream_lsn > status.received_lsn  # type: ignore[operator]
