"""The lag of each receiver, and the standbys that synchronous commits wait for."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, strategies as st
from serverfacts import sender

from pgreplkit import LSN
from pgreplkit.rows import ByteLag, SenderState

positions = st.none() | st.integers(0, 1 << 40).map(LSN)


@given(st.tuples(positions, positions, positions, positions), st.integers(0, 1 << 40).map(LSN))
def test_lag_is_the_distance_of_each_stage_from_the_senders_position(
    reported: tuple[LSN | None, ...], current: LSN
) -> None:
    sent, write, flush, replay = reported
    found = sender(
        sent_lsn=sent, write_lsn=write, flush_lsn=flush, replay_lsn=replay, current_lsn=current
    )
    for lsn, behind in zip(reported, attrs.astuple(found.lag), strict=True):
        assert (behind is None) is (lsn is None)
        if lsn is not None:
            # A receiver that is ahead for a moment has no negative lag.
            assert behind == max(0, int(current) - int(lsn))


def test_a_base_backup_has_no_lag_beyond_what_was_sent() -> None:
    backup = sender(state="backup", write_lsn=None, flush_lsn=None, replay_lsn=None)
    assert backup.lag == ByteLag(
        sent_bytes=0, write_bytes=None, flush_bytes=None, replay_bytes=None
    )


@pytest.mark.parametrize("state", [*SenderState])
@pytest.mark.parametrize("flush", [None, LSN(1)])
def test_only_streaming_receivers_that_report_a_flush_confirm_commits(
    state: SenderState, flush: LSN | None
) -> None:
    found = sender(state=state, flush_lsn=flush).confirms_commits
    assert found is (state is SenderState.STREAMING and flush is not None)
