"""The checks of an archive: each fault, made by hand in an archive of two timelines."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from struct import pack

import pytest
from walarchives import ENCRYPTED, content_of, found, moved, wal
from walpages import WalWriter, wal_of
from walsegments import MIB, SIZE, name_of

from pgreplkit import LSN, WalRange
from pgreplkit.offline.archivescan import scan_archive
from pgreplkit.offline.files import FoundFile, list_folder
from pgreplkit.offline.reader import open_wal
from pgreplkit.values.finding import Severity

Fault = Callable[[Path], object]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_file_that_was_cut_is_damage_without_verify(
    archive: Path, compress: Callable[[bytes], bytes]
) -> None:
    path = archive / name_of(4)
    path.write_bytes(compress(path.read_bytes())[:-1])
    report = scan_archive(archive)
    assert not report.covers(wal(4, 5), 1)
    assert not report.is_complete


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
        (
            rewrite(name_of(4), content_of(4)[:36] + pack("<I", 4096) + content_of(4)[40:]),
            "damaged",
            "has pages of 4096 bytes",
        ),
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
        (rewrite(f"{0:024X}", content_of(4)), "foreign", "info"),
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


def test_copies_that_differ_are_not_used(archive: Path) -> None:
    (archive / f"{name_of(4)}.xz").write_bytes(lzma.compress(content_of(4)[:-1] + b"x"))
    (archive / f"{name_of(4)}.gz").write_bytes(gzip.compress(content_of(4)))
    report = scan_archive(archive)
    assert found(report) == ["duplicate", "duplicate"]
    assert report.findings[0].wal == wal(4, 5)
    assert not report.covers(wal(4, 5), 1)
    assert report.covers(wal(3, 4), 1)
    assert str(report.ranges[0]) == f"timeline 1: {name_of(3)} to {name_of(3)} (1 file)"
    (archive / name_of(3)).unlink()
    (archive / name_of(5)).unlink()
    assert [gap.wal for gap in scan_archive(archive).gaps] == [wal(5, 6)]


def test_a_small_file_with_endless_content_is_read_in_part(archive: Path) -> None:
    compressor = bz2.BZ2Compressor()
    content = compressor.compress(content_of(4)) + compressor.compress(bytes(12 * MIB))
    (archive / f"{name_of(4)}.bz2").write_bytes(content + compressor.flush())
    tracemalloc.start()
    try:
        assert found(scan_archive(archive)) == ["duplicate"]
        (archive / name_of(4)).unlink()
        [finding] = scan_archive(archive, verify=True).findings
        assert (finding.problem, finding.wal) == ("wrong size", wal(4, 5))
        assert [*open_wal(archive)][-1].lsn >= LSN(8 * MIB)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def test_verify_finds_too_little_content_behind_a_switch(archive: Path) -> None:
    path = archive / name_of(8, 2)
    path.unlink()
    path.with_suffix(".bz2").write_bytes(bz2.compress(content_of(8, 2)[:8192]))
    assert scan_archive(archive).findings == ()
    report = scan_archive(archive, verify=True)
    assert report.findings[0].found == f"{name_of(8, 2)}.bz2 does not hold {MIB} bytes"
    assert not report.covers(wal(8, 9))


def test_a_gzip_file_may_have_several_members(archive: Path) -> None:
    content = content_of(4)
    (archive / name_of(4)).write_bytes(gzip.compress(content[:900]) + gzip.compress(content[900:]))
    assert scan_archive(archive, verify=True).findings == ()


@pytest.mark.parametrize(
    ("folder", "layout", "is_found"),
    [
        ("0000000200000000", "plain", False),
        ("0000000100000000", "plain", True),
        (".", "plain", True),
        (".", "wal-g", True),
        (".", "barman", False),
        (".", "pgbackrest", False),
    ],
)
def test_a_file_in_a_directory_where_no_tool_looks_for_it_is_a_fault(
    archive: Path, folder: str, layout: str, is_found: bool
) -> None:
    places = {"barman": "wals", "wal-g": "wal_005", "pgbackrest": "archive/main/18-1"}
    place = places.get(layout, ".")
    usual = "." if layout == "wal-g" else "{}"
    moved(
        archive,
        lambda name: f"{place}/{usual.format(name[:16]) if len(name) == 24 else '.'}/{name}",
    )
    if layout == "pgbackrest":
        (archive / "archive" / "main" / "archive.info").touch()
    [path] = archive.glob(f"{place}/**/{name_of(4)}")
    target = archive / place / folder / path.name
    target.parent.mkdir(exist_ok=True)
    path.rename(target)
    report = scan_archive(archive)
    assert report.layout == layout
    assert found(report) == ([] if is_found else ["misplaced"])
    assert report.covers(wal(4, 5), 1) is is_found
    assert all(finding.wal == wal(4, 5) for finding in report.findings)


def test_a_file_that_this_account_cannot_read_is_not_checked(archive: Path) -> None:
    for name in (name_of(7, 2), "00000002.history"):
        (archive / name).unlink()
        (archive / name).symlink_to("/proc/self/mem")  # a file whose beginning cannot be read
    report = scan_archive(archive)
    assert found(report) == ["unreadable", "unreadable"]
    assert "cannot be checked: Input/output error" in report.findings[0].found
    assert not report.is_complete
    assert not report.covers(wal(7, 8))


def test_the_size_of_segments_is_that_of_most_files(archive: Path) -> None:
    writer = wal_of([100] * 9, WalWriter(16 * MIB, segment_size=16 * MIB))
    (archive / f"{1:08X}{1:016X}").write_bytes(writer.padded())
    report = scan_archive(archive)
    assert report.segment_size == SIZE
    assert found(report) == ["other system"]


def test_the_last_segment_of_all_can_be_reported(tmp_path: Path) -> None:
    name, start = "00000001FFFFFFFF00000FFF", (1 << 64) - MIB
    (tmp_path / name).write_bytes(wal_of([100] * 9, WalWriter(start)).padded())
    report = scan_archive(tmp_path, verify=True)
    assert report.findings == ()
    assert report.ranges[0].wal == WalRange(LSN(start), LSN.MAX)
    (tmp_path / name).write_bytes(content_of(5))
    (tmp_path / name_of(6)).write_bytes(content_of(6))
    [finding] = scan_archive(tmp_path).findings
    assert finding.wal == report.ranges[0].wal


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


def test_a_copy_that_can_be_read_is_enough(archive: Path) -> None:
    (archive / f"{name_of(7, 2)}.gz").write_bytes(ENCRYPTED)
    report = scan_archive(archive)
    assert found(report) == ["unreadable"]
    assert report.worst is Severity.INFO
    assert report.is_complete
    assert report.covers(wal(3, 9))


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


def test_a_fault_is_looked_at_again_while_a_server_writes(
    pg_wal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server writes the file after its beginning was read, and then the next one.
    content = (pg_wal / name_of(7, 2)).read_bytes()
    (pg_wal / name_of(7, 2)).write_bytes(content_of(3))
    scans: list[Path] = []

    def listed(folder: Path) -> list[FoundFile]:
        if scans:
            (pg_wal / name_of(7, 2)).write_bytes(content)
        scans.append(folder)
        return list_folder(folder)

    monkeypatch.setattr("pgreplkit.offline.archivescan.list_folder", listed)
    assert found(scan_archive(pg_wal)) == ["recycled"]
    assert len(scans) == 2


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
