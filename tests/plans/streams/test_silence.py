"""A server that sends nothing is probed once, and counts as lost after its own timeout."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pgreplkit.plans.streams.backupstream import BackupStage
from pgreplkit.plans.streams.silence import DEFAULT_LIMIT, Silence, backup_silence

WAITS = st.lists(st.floats(0.01, 1.0), max_size=300)


@given(WAITS)
def test_a_server_is_probed_once_before_it_counts_as_lost(waits: list[float]) -> None:
    silence = Silence(20.0)
    probes = 0
    for wait in waits:
        probes += silence.listened(wait)
        if silence.is_over:
            assert probes == 1
    assert silence.is_over == (sum(waits) >= 20.0)
    assert probes == (sum(waits) >= 10.0)


@given(WAITS, WAITS)
def test_anything_received_ends_the_silence(before: list[float], after: list[float]) -> None:
    silence, other = Silence(20.0), Silence(20.0)
    for wait in before:
        silence.listened(wait)
    silence.heard()
    assert [silence.listened(wait) for wait in after] == [other.listened(wait) for wait in after]
    assert silence.is_over == other.is_over


@pytest.mark.parametrize(("timeout", "limit"), [(None, DEFAULT_LIMIT), (1.0, 10.0), (300.0, 300.0)])
def test_the_limit_is_the_servers_timeout(timeout: float | None, limit: float) -> None:
    assert Silence.of_server(timeout).limit == limit


@pytest.mark.parametrize(
    ("stage", "waits_for_archive", "limit"),
    [
        (BackupStage.WAITING_FOR_CHECKPOINT, False, 660.0),
        (BackupStage.COPYING, False, 60.0),
        (BackupStage.FINISHING, False, 60.0),
        (BackupStage.FINISHING, True, 3660.0),
    ],
)
def test_a_backup_may_be_silent_while_the_server_waits_itself(
    stage: BackupStage, waits_for_archive: bool, limit: float
) -> None:
    seconds = backup_silence(
        stage, None, checkpoint_timeout=300.0, waits_for_archive=waits_for_archive
    )
    assert seconds == limit
