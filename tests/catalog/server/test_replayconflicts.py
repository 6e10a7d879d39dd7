"""Conflicts of replay with queries."""

from __future__ import annotations

from pgreplkit.rows import DatabaseConflicts


def test_the_sum_has_what_the_version_counts() -> None:
    old = DatabaseConflicts(
        datid=1,
        datname="shop",
        confl_tablespace=1,
        confl_lock=2,
        confl_snapshot=4,
        confl_bufferpin=8,
        confl_deadlock=16,
    )
    assert old.total == 31
