"""The segments that are missing in an archive of two timelines, and its histories."""

from __future__ import annotations

from pathlib import Path

import pytest
from walarchives import ENCRYPTED, FORK, content_of, found, moved, wal
from walsegments import MIB, name_of

from pgreplkit import LSN
from pgreplkit.errors import WalNotFound
from pgreplkit.offline.archivescan import scan_archive
from pgreplkit.values.finding import Severity


@pytest.mark.parametrize("number", [4, 6, 7])
def test_a_gap_is_found_wherever_it_is(archive: Path, number: int) -> None:
    timeline = 1 if number == 4 else 2
    (archive / name_of(number, timeline)).unlink()
    report = scan_archive(archive)
    [gap] = report.gaps
    assert (gap.timeline, gap.wal) == (timeline, wal(number, number + 1))
    assert (gap.severity, report.is_complete) == (Severity.CRITICAL, False)
    assert gap.found == f"{name_of(number, timeline)} is missing"
    assert not report.covers(wal(3, 9))
    assert report.covers(wal(number + 1, 9))
    with pytest.raises(WalNotFound, match=f"{name_of(number, timeline)} is missing"):
        report.files(wal(3, 9))


def test_an_incomplete_segment_shows_that_the_one_before_is_missing(archive: Path) -> None:
    (archive / f"{name_of(9, 2)}.partial").write_bytes(content_of(9, 2))
    assert scan_archive(archive).gaps == ()
    (archive / name_of(8, 2)).unlink()
    [gap] = scan_archive(archive).gaps
    assert gap.found == f"{name_of(8, 2)} is missing"


def test_the_first_segment_of_a_timeline_may_be_the_gap(archive: Path) -> None:
    (archive / name_of(5, 2)).unlink()
    (archive / name_of(6, 2)).unlink()
    [gap] = scan_archive(archive).gaps
    assert gap.found == f"2 files from {name_of(5, 2)} to {name_of(6, 2)} are missing"
    assert gap.wal == wal(5, 7)


def test_a_timeline_without_files_shows_that_those_before_it_were_written(archive: Path) -> None:
    (archive / "00000003.history").write_text(f"1\t{FORK}\n2\t{LSN(10 * MIB + 40)}\n")
    [gap] = scan_archive(archive).gaps
    assert (gap.timeline, gap.wal) == (2, wal(9, 10))
    (archive / "00000003.history").write_text(f"1\t{FORK}\n2\t{LSN(9 * MIB)}\n")
    (archive / "00000004.history").write_text("broken\n")
    (archive / "00000007.history").write_text(f"6\t{LSN(9 * MIB)}\n")
    report = scan_archive(archive)
    assert report.findings == ()
    assert [history.timeline for history in report.histories] == [1, 2]


def test_a_file_that_cannot_be_read_shows_that_those_before_it_were_written(archive: Path) -> None:
    (archive / name_of(8, 2)).write_bytes(ENCRYPTED)
    (archive / name_of(7, 2)).unlink()
    [gap] = scan_archive(archive).gaps
    assert gap.found == f"{name_of(7, 2)} is missing"


def test_a_history_that_cannot_be_read_is_not_a_contradiction(archive: Path) -> None:
    (archive / "00000002.history").write_bytes(ENCRYPTED)
    report = scan_archive(archive)
    assert found(report) == ["unreadable"]
    assert not report.is_complete
    assert report.findings[0].path == archive / "00000002.history"


def test_files_that_barman_registered_are_missing_also_at_the_ends(archive: Path) -> None:
    moved(archive, lambda name: f"wals/{name[:16] + '/' if len(name) == 24 else ''}{name}")
    names = [name_of(number) for number in range(2, 7)]
    names += [name_of(number, 2) for number in range(5, 11)]
    lines = [f"{name}\t{MIB}\t1795847207.29\tNone\n" for name in [*names, "00000002.history"]]
    (archive / "wals" / "main-xlog.db").write_text("".join(lines))
    report = scan_archive(archive)
    assert [str(gap.wal) for gap in report.gaps] == [str(wal(2, 3)), str(wal(9, 11))]
    assert not report.is_complete


def test_a_file_with_a_name_far_away_needs_no_memory(archive: Path) -> None:
    (archive / f"{name_of((1 << 40) - 1, 2)}.partial").touch()
    assert scan_archive(archive).gaps == ()  # An empty file proves nothing.
    (archive / name_of(1 << 40, 2)).write_bytes(ENCRYPTED)
    [gap] = scan_archive(archive).gaps
    last = name_of((1 << 40) - 1, 2)
    assert gap.found == f"1099511627767 files from {name_of(9, 2)} to {last} are missing"


def test_a_hole_before_a_switch_is_reported_once(archive: Path) -> None:
    (archive / name_of(4)).unlink()
    (archive / name_of(5)).unlink()
    [gap] = scan_archive(archive).gaps
    assert (gap.timeline, gap.wal) == (1, wal(4, 6))


def test_a_history_copies_the_one_before(archive: Path) -> None:
    path = archive / "00000003.history"
    (archive / name_of(8, 3)).write_bytes(content_of(8, 3))
    line = f"2\t{LSN(8 * MIB + 8192)}\tother reasons do not matter\n"
    path.write_text(f"1\t{FORK}\t\n{line}")
    assert scan_archive(archive).findings == ()
    path.write_text(f"1\t{LSN(int(FORK) + 8)}\n{line}")
    [finding] = scan_archive(archive).findings
    assert (finding.problem, finding.severity) == ("history contradicts", Severity.CRITICAL)
    assert finding.found == "00000003.history contradicts 00000002.history"
    # Nothing is known of the one before.
    (archive / "00000002.history").unlink()
    assert found(scan_archive(archive)) == ["history missing"]


def test_an_empty_history_is_a_fault(archive: Path) -> None:
    (archive / "00000002.history").write_text("\n")
    [finding] = scan_archive(archive).findings
    assert finding.found == "00000002.history names no timeline before it"
