"""Archives of Barman and pgBackRest: a hole that their own checks pass over ends the window.

`nox -s archives` runs these tests; they need the programs, and a server 15 that both support.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from backuptools import Tool, barman_of, pgbackrest_of

from pgreplkit.lab import Lab
from pgreplkit.rows import Rows
from pgreplkit.wal import (
    ArchiveLayout,
    Backup,
    WindowEnd,
    barman_backups,
    pgbackrest_backups,
    scan_archive,
)

pytestmark = pytest.mark.matrix


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture
def barman(lab: Lab) -> Iterator[Tool]:
    with barman_of(lab) as tool:
        yield tool


@pytest.fixture
def pgbackrest(lab: Lab) -> Tool:
    return pgbackrest_of(lab)


def check_hole(tool: Tool, folder: Path, backups: Rows[Backup], *check: str) -> None:
    """Remove a segment: the tool's own check passes, and the windows end before it."""
    report = scan_archive(tool.home, verify=True)
    assert report.is_complete, str(report)
    assert {window.ended_by for window in report.windows(backups)} == {WindowEnd.END}
    lost = tool.segments(folder)[-3]
    lost.unlink()
    tool.run(*check)
    report = scan_archive(tool.home)
    [gap] = report.gaps
    assert lost.name[:24] in gap.found
    for window in report.windows(backups):
        assert window.ended_by is WindowEnd.GAP
        assert gap.wal is not None
        assert window.to_lsn is not None
        assert window.to_lsn <= gap.wal.start


def test_a_hole_in_barmans_archive_ends_the_window(barman: Tool) -> None:
    barman.run("switch-wal", "--force", "--archive", "main")
    barman.run("backup", "--wait", "main")
    barman.commit(5)
    barman.run("switch-wal", "--force", "--archive", "main")
    barman.run("archive-wal", "main")
    backups = barman_backups(barman.home)
    assert [one.is_complete for one in backups] == [True]
    assert scan_archive(barman.home).layout is ArchiveLayout.BARMAN
    check_hole(barman, barman.home / "wals", backups, "check", "main")


def test_a_hole_in_pgbackrests_archive_ends_the_windows(pgbackrest: Tool) -> None:
    pgbackrest.run("backup", "--type=full")
    pgbackrest.commit(2)
    pgbackrest.run("backup", "--type=incr")
    pgbackrest.commit(5)
    pgbackrest.run("check")
    backups = pgbackrest_backups(pgbackrest.run("info", "--output=json"))
    assert [one.type for one in backups] == ["full", "incremental"]
    assert scan_archive(pgbackrest.home).layout is ArchiveLayout.PGBACKREST
    check_hole(pgbackrest, pgbackrest.home / "archive", backups, "verify")
