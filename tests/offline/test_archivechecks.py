"""The checks of an archive: each fault, made by hand in an archive of two timelines."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from walarchives import content_of, found, moved, wal
from walpages import WalWriter, wal_of
from walsegments import MIB, name_of

from pgreplkit.errors import WalNotFound
from pgreplkit.offline.archivescan import scan_archive
from pgreplkit.values.finding import Severity


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_file_that_was_cut_is_damage_without_verify(
    archive: Path, compress: Callable[[bytes], bytes]
) -> None:
    path = archive / name_of(4)
    path.write_bytes(compress(path.read_bytes())[:-1])
    report = scan_archive(archive)
    assert not report.covers(wal(4, 5), 1)
    assert not report.is_complete


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


Fault = Callable[[Path], object]


def rewrite(name: str, content: bytes) -> Fault:
    return lambda archive: (archive / name).write_bytes(content)


@pytest.mark.parametrize(
    ("fault", "problem", "words"),
    [
        (
            rewrite(name_of(4), content_of(4)[:500_000]),
            "wrong size",
            "has 500000 bytes, not",
        ),
        (rewrite(name_of(4), content_of(3)), "other address", "holds the WAL of 0/300000"),
        (rewrite(name_of(4), content_of(4, 2)), "other address", "holds the WAL of timeline 2"),
        (rewrite(name_of(4), content_of(4, major=17)), "other version", "is of version 17"),
        (rewrite(name_of(4), bytes(MIB)), "damaged", "the page is empty"),
        (rewrite(name_of(4), b""), "damaged", "fewer than its header"),
        (rewrite(name_of(4), b"\x1f\x8b" + bytes(90)), "damaged", "compressed file is damaged"),
        (
            rewrite(name_of(4), gzip.compress(content_of(4)[:-8])),
            "wrong size",
            "has 1048568 bytes",
        ),
        (
            rewrite(name_of(4), content_of(4)[:24] + bytes(7) + b"\x01" + content_of(4)[32:]),
            "other system",
            "is of system 72057594037927936",
        ),
    ],
)
def test_a_file_that_recovery_could_not_use_is_found(
    archive: Path, fault: Fault, problem: str, words: str
) -> None:
    fault(archive)
    report = scan_archive(archive)
    [finding] = report.findings
    assert (finding.problem, finding.severity) == (problem, Severity.CRITICAL)
    assert words in finding.found
    assert (finding.path, finding.wal) == (archive / name_of(4), wal(4, 5))
    assert not report.covers(wal(4, 5))
    assert [one.files for one in report.ranges] == [1, 2, 4]


@pytest.mark.parametrize(
    ("fault", "problem", "severity"),
    [
        (rewrite(f"{name_of(4)}.gz", gzip.compress(content_of(4))), "duplicate", "info"),
        (
            rewrite(f"{name_of(4)}.gz", gzip.compress(content_of(4)[:-1] + b"x")),
            "duplicate",
            "critical",
        ),
        (rewrite(f"{name_of(4)}.partial", content_of(4)), "partial", "info"),
        (rewrite(f"{name_of(7)}.partial", content_of(7)), "partial", "info"),
        (rewrite(f"{name_of(4)}.tmp", b""), "temporary", "info"),
        (rewrite("README", b""), "foreign", "info"),
        (rewrite(f"{name_of(9, 2)}", b"Salted__" + bytes(90)), "unreadable", "warning"),
        (rewrite(f"{name_of(9, 2)}", b"\x89LZO" + bytes(90)), "unreadable", "warning"),
        (rewrite(f"{name_of(9, 2)}.br", b"anything"), "damaged", "critical"),
        (rewrite("00000002.history", b"two words\n"), "history contradicts", "critical"),
        (rewrite("00000002.history", b"1\t0/700000\n"), "history contradicts", "critical"),
        (lambda archive: (archive / "00000002.history").unlink(), "history missing", "critical"),
    ],
)
def test_other_faults_have_findings_of_their_own(
    archive: Path, fault: Fault, problem: str, severity: str
) -> None:
    fault(archive)
    report = scan_archive(archive)
    assert (report.findings[0].problem, report.findings[0].severity) == (problem, severity)
    assert report.worst == severity
    assert str(report.findings[0]) in str(report)


ENCRYPTED = b"\x85\x01" + bytes(90)


def test_nothing_is_claimed_for_a_file_that_cannot_be_read(archive: Path) -> None:
    (archive / name_of(7, 2)).write_bytes(ENCRYPTED)
    report = scan_archive(archive)
    [finding] = report.findings
    assert (finding.problem, finding.severity) == ("unreadable", Severity.WARNING)
    assert finding.found == f"{name_of(7, 2)} cannot be checked: the file is encrypted"
    assert (finding.timeline, finding.wal) == (2, wal(7, 8))
    assert not report.is_complete
    assert not report.covers(wal(3, 9))
    assert report.covers(wal(3, 7))
    assert report.gaps == ()
    assert scan_archive(archive, verify=True).findings == report.findings


def test_a_file_that_cannot_be_read_shows_that_those_before_it_were_written(archive: Path) -> None:
    (archive / name_of(8, 2)).write_bytes(ENCRYPTED)
    (archive / name_of(7, 2)).unlink()
    [gap] = scan_archive(archive).gaps
    assert gap.found == f"{name_of(7, 2)} is missing"


def test_a_copy_that_can_be_read_is_enough(archive: Path) -> None:
    (archive / f"{name_of(7, 2)}.gz").write_bytes(ENCRYPTED)
    report = scan_archive(archive)
    assert found(report) == ["unreadable"]
    assert report.worst is Severity.INFO
    assert report.is_complete
    assert report.covers(wal(3, 9))


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


@pytest.fixture
def pg_wal(archive: Path) -> Path:
    """The archive as pg_wal of a server, with two recycled files and an empty one."""
    (archive / "archive_status").mkdir()
    (archive / name_of(9, 2)).write_bytes(content_of(3))
    (archive / name_of(10, 2)).write_bytes(content_of(4))
    (archive / name_of(11, 2)).write_bytes(bytes(MIB))
    return archive


def test_a_server_prepares_files_for_later_wal(pg_wal: Path) -> None:
    report = scan_archive(pg_wal)
    assert (report.layout, report.is_complete) == ("pg_wal", True)
    [finding] = report.findings
    assert (finding.problem, finding.severity) == ("recycled", Severity.INFO)
    names = f"3 files from {name_of(9, 2)} to {name_of(11, 2)}"
    assert finding.found == f"{names} are prepared for later WAL"
    assert str(report.ranges[-1]) == f"timeline 2: {name_of(5, 2)} to {name_of(8, 2)} (4 files)"
    assert scan_archive(pg_wal, verify=True).findings == report.findings


def test_the_same_files_are_faults_of_an_archive(pg_wal: Path) -> None:
    report = scan_archive(pg_wal, layout="plain")
    assert found(report) == ["other address", "other address", "damaged"]
    assert report.worst is Severity.CRITICAL


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (name_of(7, 2), content_of(3)),  # Later files have WAL already.
        (name_of(7, 2), bytes(MIB)),
        (name_of(9, 2), content_of(10)),
        (name_of(9, 2), b""),
        (name_of(9, 2), content_of(3)[:24] + bytes(7) + b"\x01" + content_of(3)[32:]),
    ],
)
def test_other_wrong_files_of_a_server_are_faults(pg_wal: Path, name: str, content: bytes) -> None:
    (pg_wal / name).write_bytes(content)
    report = scan_archive(pg_wal)
    assert report.worst is Severity.CRITICAL
    assert report.findings[0].path == pg_wal / name


def test_the_last_file_of_a_server_may_end_with_leftovers(pg_wal: Path) -> None:
    writer = WalWriter(9 * MIB, timeline=2, previous=8 * MIB + 400)
    content = wal_of([90] * 20, writer).content
    # A standby writes up to any byte into a recycled file.
    old = wal_of([77] * 2000, WalWriter(MIB)).padded()
    (pg_wal / name_of(9, 2)).write_bytes(content + old[len(content) :])
    report = scan_archive(pg_wal, verify=True)
    assert found(report) == ["recycled"]
    assert report.covers(wal(9, 10))
    assert "damaged" in found(scan_archive(pg_wal, layout="plain", verify=True))
