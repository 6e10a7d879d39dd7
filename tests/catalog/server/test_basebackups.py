"""The progress of a base backup."""

from __future__ import annotations

from datetime import timedelta

import attrs
from serverfacts import NOW

from pgreplkit.rows import BackupPhase, BaseBackup

STREAMING = BaseBackup(
    pid=7,
    phase=BackupPhase.STREAMING_FILES,
    backup_total=1000,
    backup_streamed=250,
    tablespaces_total=1,
    tablespaces_streamed=0,
    application_name="pg_basebackup",
    client_addr=None,
    query_start=NOW - timedelta(seconds=60),
    observed_at=NOW,
    checkpoint_timeout=timedelta(seconds=300),
    checkpoint_completion_target=0.5,
)


def test_the_share_never_exceeds_one_and_needs_an_estimate() -> None:
    assert STREAMING.share == 0.25
    assert "25% of about 1000 bytes" in STREAMING.explanation
    assert attrs.evolve(STREAMING, backup_streamed=2000).share == 1
    unknown = attrs.evolve(STREAMING, backup_total=None)
    assert unknown.share is None
    assert unknown.explanation.endswith("250 bytes sent")


def test_the_wait_for_the_checkpoint_ends_with_its_spread() -> None:
    assert STREAMING.checkpoint_wait is None
    waiting = attrs.evolve(STREAMING, phase=BackupPhase.WAITING_FOR_CHECKPOINT)
    assert waiting.checkpoint_wait == timedelta(seconds=90)
    assert "--checkpoint=fast" in waiting.explanation
    late = attrs.evolve(waiting, query_start=NOW - timedelta(seconds=600))
    assert late.checkpoint_wait == timedelta(0)


def test_a_clock_that_was_set_back_makes_no_negative_time() -> None:
    assert attrs.evolve(STREAMING, query_start=NOW + timedelta(1)).elapsed == timedelta(0)
    assert attrs.evolve(STREAMING, query_start=None).elapsed is None
