"""Clone: the options of pg_basebackup, and the progress in its output."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from hypothesis import given, strategies as st

from pgreplkit import ClonePhase, CloneProgress
from pgreplkit.plans.cluster.clone import CloneOptions, after

OPTIONS = CloneOptions(
    slot=None,
    application_name="b",
    tablespaces={},
    max_rate=None,
    wal_method="stream",
    checkpoint="spread",
    compression=None,
)
LINES = [
    ("pg_basebackup: initiating base backup, waiting for checkpoint to complete", "WAITING"),
    ("pg_basebackup: checkpoint completed", "COPYING"),
    ("  1024/4096 kB (25%), 0/1 tablespace", "COPYING"),
    ("pg_basebackup: write-ahead log end point: 0/3000100", "FINISHING_WAL"),
    ("pg_basebackup: syncing data to disk ...", "SYNCING"),
]


def test_the_phases_follow_the_output_of_pg_basebackup() -> None:
    progress = CloneProgress()
    for line, phase in LINES:
        progress = after(progress, line)
        assert progress.phase.name.startswith(phase)
    assert (progress.bytes_done, progress.bytes_total) == (1 << 20, 4 << 20)


@given(st.text())
def test_other_output_changes_nothing(line: str) -> None:
    progress = CloneProgress(phase=ClonePhase.COPYING, bytes_done=5, bytes_total=10)
    assert after(progress, f"pg_basebackup: warning: {line}").bytes_total == 10


@given(st.integers(1, 1 << 40), st.integers(0, 1 << 41), st.integers(1, 10_000))
def test_the_remaining_time_is_an_estimate_of_the_average_speed(
    total: int, done: int, seconds: int
) -> None:
    progress = CloneProgress(
        phase=ClonePhase.COPYING,
        bytes_done=done,
        bytes_total=total,
        copying_for=timedelta(seconds=seconds),
    )
    assert progress.share is not None
    assert 0 <= progress.share <= 1
    if progress.share < 0.02:
        assert progress.remaining is None
    else:
        assert progress.remaining is not None
        assert progress.remaining >= timedelta(0)
    assert attrs.evolve(progress, phase=ClonePhase.SYNCING).remaining is None


def test_a_spread_checkpoint_is_explained_with_its_limit() -> None:
    spread = CloneProgress(checkpoint_limit=timedelta(minutes=4))
    assert "up to 0:04:00" in spread.explanation
    assert "fast checkpoint" in CloneProgress().explanation


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"slot": "b"}, "--slot=b"),
        ({"max_rate": 1 << 20}, "--max-rate=1024"),
        ({"checkpoint": "fast"}, "--checkpoint=fast"),
        ({"compression": "zstd:3"}, "--compress=server-zstd:3"),
        ({"tablespaces": {"/a=1": "/b"}}, "--tablespace-mapping=/a\\=1=/b"),
    ],
)
def test_an_option_becomes_an_argument_of_pg_basebackup(
    changed: dict[str, object], argument: str
) -> None:
    options = attrs.evolve(OPTIONS, **changed)  # type: ignore[arg-type]
    assert argument in options.arguments("/data", "host=a")
    assert argument not in OPTIONS.arguments("/data", "host=a")


def test_a_slot_is_used_for_streamed_wal_only() -> None:
    fetched = attrs.evolve(OPTIONS, slot="b", wal_method="fetch")
    assert not any("--slot" in argument for argument in fetched.arguments("/data", ""))


@pytest.mark.parametrize(
    "changed",
    [
        {"max_rate": 5},
        {"max_rate": 1 << 31},
        {"wal_method": "none"},
        {"checkpoint": "now"},
        {"compression": "rar"},
        {"compression": "gzip; rm"},
        {"tablespaces": {"a": "/b"}},
        {"tablespaces": {"/a": "b"}},
    ],
)
def test_an_option_that_no_server_accepts_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        attrs.evolve(OPTIONS, **changed)  # type: ignore[arg-type]
