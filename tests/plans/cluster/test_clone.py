"""The arguments of pg_basebackup, and its output as progress."""

from __future__ import annotations

from datetime import timedelta
from functools import reduce
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from pgreplkit.plans.cluster.clone import Clone, after
from pgreplkit.rows import ClonePhase, CloneProgress

OUTPUT = """\
pg_basebackup: initiating base backup, waiting for checkpoint to complete
pg_basebackup: checkpoint completed
pg_basebackup: write-ahead log start point: 0/2000028 on timeline 1
pg_basebackup: starting background WAL receiver
    5/23045 kB (0%), 0/1 tablespace (replica/backup_label               )
11530/23045 kB (50%), 0/1 tablespace (replica/base/1/1247               )
23055/23055 kB (100%), 1/1 tablespace
pg_basebackup: write-ahead log end point: 0/2000100
pg_basebackup: syncing data to disk ...
pg_basebackup: base backup completed
"""


def options(**changed: Any) -> Clone:
    facts: dict[str, Any] = {
        "source": "db1:5432",
        "directory": "/data",
        "slot": None,
        "application_name": "replica",
        "tablespaces": {},
        "max_rate": None,
        "wal_method": "stream",
        "checkpoint": "spread",
        "compression": None,
    }
    return Clone(**facts | changed)


def test_the_output_of_pg_basebackup_is_read_as_phases_and_bytes() -> None:
    seen = [CloneProgress()]
    for line in OUTPUT.splitlines():
        seen.append(after(seen[-1], line))
    assert list(dict.fromkeys(progress.phase for progress in seen)) == [
        ClonePhase.WAITING_FOR_CHECKPOINT,
        ClonePhase.COPYING,
        ClonePhase.FINISHING_WAL,
        ClonePhase.SYNCING,
    ]
    done = [progress.bytes_done for progress in seen]
    assert done == sorted(done)
    assert (seen[-1].bytes_done, seen[-1].bytes_total) == (23055 << 10, 23055 << 10)


@given(st.lists(st.text() | st.sampled_from(OUTPUT.splitlines())))
def test_any_output_leaves_a_valid_progress(lines: list[str]) -> None:
    progress = reduce(after, lines, CloneProgress())
    assert progress.share is None or 0 <= progress.share <= 1
    assert str(progress)


def copying(done: int, total: int | None, seconds: int) -> CloneProgress:
    return CloneProgress(
        phase=ClonePhase.COPYING,
        bytes_done=done,
        bytes_total=total,
        copying_for=timedelta(seconds=seconds),
    )


@pytest.mark.parametrize(
    ("progress", "share", "remaining"),
    [
        (copying(50, 100, 30), 0.5, timedelta(seconds=30)),
        (copying(25, 100, 10), 0.25, timedelta(seconds=30)),
        (copying(100, 100, 10), 1.0, timedelta(0)),
        # The total is an estimate: more may be copied.
        (copying(150, 100, 10), 1.0, timedelta(0)),
        # Too early for an estimate.
        (copying(1, 100, 10), 0.01, None),
        (copying(50, None, 10), None, None),
        (copying(0, 0, 10), None, None),
    ],
)
def test_the_remaining_time_follows_from_the_average_speed(
    progress: CloneProgress, share: float | None, remaining: timedelta | None
) -> None:
    assert (progress.share, progress.remaining) == (share, remaining)
    finishing = attrs.evolve(progress, phase=ClonePhase.FINISHING_WAL)
    assert finishing.remaining is None


def test_the_explanation_of_a_checkpoint_says_how_to_avoid_the_wait() -> None:
    assert "fast checkpoint" in CloneProgress().explanation
    spread = CloneProgress(checkpoint_limit=timedelta(minutes=4, seconds=30))
    assert "0:04:30" in spread.explanation
    assert "checkpoint='fast'" in spread.explanation


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"wal_method": "none"}, "wal_method"),
        ({"checkpoint": "slow"}, "checkpoint"),
        ({"max_rate": 1000}, "max_rate"),
        ({"max_rate": 2 << 30}, "max_rate"),
        ({"compression": "bzip2"}, "compression"),
        ({"compression": "zstd:3 --foo"}, "compression"),
        ({"tablespaces": {"data": "/new"}}, "absolute"),
        ({"tablespaces": {"/old": "new"}}, "absolute"),
    ],
)
def test_options_that_pg_basebackup_would_refuse_are_refused_before(
    changed: dict[str, Any], error: str
) -> None:
    with pytest.raises(ValueError, match=error):
        options(**changed)


@pytest.mark.parametrize(
    ("changed", "argument", "present"),
    [
        ({"slot": "s"}, "--slot=s", True),
        # pg_basebackup refuses a slot unless it streams WAL.
        ({"slot": "s", "wal_method": "fetch"}, "--slot=s", False),
        ({"wal_method": "fetch"}, "--wal-method=fetch", True),
        ({"checkpoint": "fast"}, "--checkpoint=fast", True),
        ({"max_rate": 1 << 20}, "--max-rate=1024", True),
        ({"compression": "zstd:3"}, "--compress=server-zstd:3", True),
        ({"tablespaces": {"/a=b": "/c"}}, "--tablespace-mapping=/a\\=b=/c", True),
    ],
)
def test_each_option_has_its_argument(
    changed: dict[str, Any], argument: str, present: bool
) -> None:
    arguments = options(**changed).arguments("host=a")
    assert (argument in arguments) is present
    assert arguments[:3] == ["--dbname=host=a", "--pgdata=/data", "--no-password"]
