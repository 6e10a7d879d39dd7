"""The lag of a standby's replay status, case by case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from pgreplkit import LSN
from pgreplkit.rows import LagReason, LagStage, ReplayStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)

BEHIND = ReplayStatus(
    received_lsn=LSN(200),
    replayed_lsn=LSN(100),
    last_commit_time=NOW - 5 * SECOND,
    pause_state="not paused",
    apply_delay=timedelta(0),
    receiver_pid=7,
    receiver_status="streaming",
    latest_end_lsn=LSN(200),
    last_msg_send_time=NOW - 3 * SECOND,
    last_msg_receipt_time=NOW - SECOND,
    observed_at=NOW,
)


@pytest.mark.parametrize(
    ("changes", "reason", "size", "time", "stage"),
    [
        ({}, LagReason.REPLAYING, 100, 5 * SECOND, LagStage.REPLAY),
        ({"latest_end_lsn": LSN(300)}, LagReason.REPLAYING, 200, 5 * SECOND, LagStage.RECEIVE),
        ({"received_lsn": None}, LagReason.REPLAYING, 100, 5 * SECOND, LagStage.RECEIVE),
        ({"pause_state": "paused"}, LagReason.PAUSED, 100, 5 * SECOND, LagStage.REPLAY),
        ({"pause_state": "pause requested"}, LagReason.PAUSED, 100, 5 * SECOND, LagStage.REPLAY),
        ({"apply_delay": SECOND}, LagReason.DELAYED, 100, 5 * SECOND, LagStage.REPLAY),
        ({"last_commit_time": None}, LagReason.NO_COMMIT, 100, None, LagStage.REPLAY),
        (
            {"last_commit_time": NOW + SECOND},
            *(LagReason.CLOCKS_DIFFER, 100, None, LagStage.REPLAY),
        ),
        ({"replayed_lsn": LSN(200)}, LagReason.CAUGHT_UP, 0, timedelta(0), None),
        ({"replayed_lsn": LSN(300)}, LagReason.CAUGHT_UP, 0, timedelta(0), None),
        (
            {"replayed_lsn": LSN(200), "pause_state": "paused"},
            *(LagReason.PAUSED, 0, timedelta(0), None),
        ),
        ({"receiver_status": "waiting"}, LagReason.NOT_STREAMING, None, None, None),
        ({"receiver_status": None}, LagReason.NOT_STREAMING, None, None, None),
        ({"replayed_lsn": None}, LagReason.NOT_STREAMING, None, None, None),
    ],
)
def test_each_state_of_replay_has_its_lag_reason(
    changes: dict[str, object],
    reason: LagReason,
    size: int | None,
    time: timedelta | None,
    stage: LagStage | None,
) -> None:
    status = attrs.evolve(BEHIND, **changes)  # type: ignore[arg-type]
    lag = status.lag()
    assert (lag.reason, lag.bytes, lag.time, lag.stage) == (reason, size, time, stage)
    assert (status.lag_reason, status.bytes_behind, status.time_behind, status.lag_stage) == (
        *(reason, size, time, stage),
    )


def test_a_lag_knows_the_age_of_its_measurement() -> None:
    lag = BEHIND.lag()
    assert (lag.heard_at, lag.age) == (NOW - SECOND, SECOND)
    assert lag.clock_difference == -2 * SECOND
    gone = attrs.evolve(
        BEHIND, receiver_status=None, last_msg_receipt_time=None, last_msg_send_time=None
    )
    assert (gone.lag().heard_at, gone.lag().age, gone.lag().clock_difference) == (None, None, None)
    seen = gone.lag(last_heard=NOW - 60 * SECOND)
    assert (seen.heard_at, seen.age) == (NOW - 60 * SECOND, 60 * SECOND)
