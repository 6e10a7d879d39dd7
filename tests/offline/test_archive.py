"""scan_archive: each fault, made by hand in an archive of two timelines."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from walpages import SWITCH, WalWriter, wal_of

from pgreplkit import LSN, SegmentSize, TimelineHistory, WalRange
from pgreplkit.errors import HostFileError, WalNotFound
from pgreplkit.offline.archive import ArchiveProblem, ArchiveReport
from pgreplkit.offline.archivescan import scan_archive
from pgreplkit.offline.layouts import ArchiveLayout
from pgreplkit.values.finding import Severity

SIZE = SegmentSize.parse("1MB")
MIB = 1 << 20
FORK = LSN(5 * MIB + 8192)


def name_of(number: int, timeline: int = 1) -> str:
    return str(LSN(number * MIB).wal_file(timeline=timeline, segment_size=SIZE))


def content_of(number: int, timeline: int = 1, *, major: int = 18) -> bytes:
    """A segment with a few records, which ends with a switch."""
    writer = WalWriter(number * MIB, timeline=timeline, major=major)
    writer.previous = 0 if number == 3 else (number - 1) * MIB + 40
    writer.add(*SWITCH) if number % 2 else wal_of([100] * 3, writer).add(*SWITCH)
    return writer.padded()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Segments 3 to 6 of timeline 1, and 5 to 8 of timeline 2, which began in segment 5."""
    for number in range(3, 7):
        (tmp_path / name_of(number)).write_bytes(content_of(number))
    for number in range(5, 9):
        (tmp_path / name_of(number, 2)).write_bytes(content_of(number, 2))
    (tmp_path / "00000002.history").write_text(f"1\t{FORK}\tno recovery target specified\n")
    return tmp_path


def found(report: ArchiveReport, *, at_least: Severity = Severity.INFO) -> list[str]:
    return [f.problem for f in report.findings if f.severity >= at_least]


def wal(first: int, end: int) -> WalRange:
    return WalRange(LSN(first * MIB), LSN(end * MIB))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_file_that_was_cut_is_damage_without_verify(
    archive: Path, compress: Callable[[bytes], bytes]
) -> None:
    path = archive / name_of(4)
    path.write_bytes(compress(path.read_bytes())[:-1])
    report = scan_archive(archive)
    assert not report.covers(wal(4, 5), 1)
    assert not report.is_complete


def test_a_complete_archive_has_ranges_and_no_findings(archive: Path) -> None:
    report = scan_archive(archive)
    assert report.findings == ()
    assert report.is_complete
    assert [str(one) for one in report.ranges] == [
        f"timeline 1: {name_of(3)} to {name_of(6)} (4 files)",
        f"timeline 2: {name_of(5, 2)} to {name_of(8, 2)} (4 files)",
    ]
    assert report.ranges[1].wal == wal(5, 9)
    assert (report.major, report.segment_size, report.layout) == (18, SIZE, ArchiveLayout.PLAIN)
    assert report.history().timelines == (1, 2)
    assert report.covers(wal(3, 9))
    assert report.covers(wal(3, 7), 1)
    assert not report.covers(wal(3, 8), 1)
    assert [path.name for path in report.files(wal(4, 6))] == [name_of(4), name_of(5, 2)]
    assert [path.name for path in report.files(wal(4, 6), TimelineHistory(1))] == [
        name_of(4),
        name_of(5),
    ]
    assert json.loads(json.dumps(report.to_dict()))["ranges"][0]["files"] == 4


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


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "lz4", "zst", "lzma", "lzo"])
def test_a_file_that_is_not_in_the_format_of_its_suffix_may_be_encrypted(
    archive: Path, suffix: str
) -> None:
    path = archive / name_of(7, 2)
    path.rename(path.with_name(f"{path.name}.{suffix}"))
    assert scan_archive(archive).findings == ()  # plain WAL under a wrong name
    path.with_name(f"{path.name}.{suffix}").write_bytes(bytes(range(1, 100)))
    [finding] = scan_archive(archive).findings
    assert finding.problem is ArchiveProblem.UNREADABLE
    assert f"not in the format of .{suffix}, so it is encrypted or damaged" in finding.found


def test_a_history_that_cannot_be_read_is_no_contradiction(archive: Path) -> None:
    (archive / "00000002.history").write_bytes(ENCRYPTED)
    report = scan_archive(archive)
    assert found(report) == ["unreadable"]
    assert not report.is_complete
    assert report.findings[0].path == archive / "00000002.history"


def test_damage_inside_files_is_found_when_all_records_are_read(archive: Path) -> None:
    path = archive / name_of(4)
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    assert scan_archive(archive).findings == ()
    report = scan_archive(archive, verify=True)
    [finding] = report.findings
    assert (finding.problem, finding.path) == (ArchiveProblem.DAMAGED, path)
    assert "CRC is" in finding.found
    assert not report.covers(wal(4, 5))
    assert scan_archive(archive, verify=True).ranges == report.ranges


def moved(archive: Path, target: Callable[[str], str]) -> None:
    for path in [*archive.iterdir()]:
        if path.is_file():
            new = archive / target(path.name)
            new.parent.mkdir(parents=True, exist_ok=True)
            path.rename(new)


SHA = "0123456789012345678901234567890123456789"


def test_the_layouts_of_backup_tools_are_recognized(archive: Path) -> None:
    moved(archive, lambda name: f"wals/{name[:16] + '/' if len(name) == 24 else ''}{name}")
    (archive / "wals" / "main-xlog.db").write_text("")
    report = scan_archive(archive)
    assert (report.layout, report.findings, len(report._segments)) == (ArchiveLayout.BARMAN, (), 8)
    with pytest.raises(WalNotFound, match="not laid out as an archive of wal-g"):
        scan_archive(archive, layout="wal-g")


def test_files_that_barman_registered_are_missing_also_at_the_ends(archive: Path) -> None:
    moved(archive, lambda name: f"wals/{name[:16] + '/' if len(name) == 24 else ''}{name}")
    names = [name_of(number) for number in range(2, 7)]
    names += [name_of(number, 2) for number in range(5, 11)]
    lines = [f"{name}\t{MIB}\t1795847207.29\tNone\n" for name in [*names, "00000002.history"]]
    (archive / "wals" / "main-xlog.db").write_text("".join(lines))
    report = scan_archive(archive)
    assert [str(gap.wal) for gap in report.gaps] == [str(wal(2, 3)), str(wal(9, 11))]
    assert not report.is_complete


def test_a_pgbackrest_repository_is_recognized(archive: Path) -> None:
    moved(
        archive,
        lambda name: (
            f"archive/main/18-2/{name[:16]}/{name}-{SHA}"
            if len(name) == 24
            else f"archive/main/18-2/{name}"
        ),
    )
    stanza = archive / "archive" / "main"
    (stanza / "archive.info").write_text("")
    (stanza / "16-1").mkdir()
    for folder in (archive, stanza, stanza / "18-2"):
        report = scan_archive(folder)
        assert (report.layout, len(report._segments)) == (ArchiveLayout.PGBACKREST, 8)
        assert report.directory == stanza / "18-2"
        assert found(report) == ([] if folder.name == "18-2" else ["other system"])
    (archive / "archive" / "other").mkdir()
    with pytest.raises(WalNotFound, match=r"2 stanzas \(main, other\)"):
        scan_archive(archive)


def test_verify_compares_the_sha1_in_the_names_of_pgbackrest(archive: Path) -> None:
    for path in [*archive.glob("0000000[12]????????????????")]:
        content = path.read_bytes()
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        path.unlink()
        (archive / f"{path.name}-{digest}.gz").write_bytes(gzip.compress(content))
    assert scan_archive(archive, verify=True).findings == ()
    # The CRC of no record covers the end of a segment behind a switch.
    [path] = archive.glob(f"{name_of(4)}-*")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1] + b"x"))
    assert scan_archive(archive).findings == ()
    report = scan_archive(archive, verify=True)
    [finding] = report.findings
    assert (finding.problem, finding.path) == (ArchiveProblem.DAMAGED, path)
    assert "its content has the SHA-1" in finding.found
    assert not report.covers(wal(4, 5))


def test_a_walg_storage_is_recognized(archive: Path) -> None:
    for path in archive.iterdir():
        path.write_bytes(lzma.compress(path.read_bytes(), lzma.FORMAT_ALONE))
    moved(archive, lambda name: f"wal_005/{name}.lzma")
    (archive / "wal_005" / f"{name_of(0)}_delta.lzma").write_bytes(b"blocks")
    report = scan_archive(archive)
    assert (report.layout, report.findings, len(report._segments)) == (ArchiveLayout.WALG, (), 8)


def test_a_directory_without_wal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        WalNotFound, match="it holds no WAL files; name the directory of an archive"
    ):
        scan_archive(tmp_path)
    (tmp_path / name_of(3)).write_bytes(b"Salted__" + bytes(90))
    with pytest.raises(WalNotFound, match=r"none .* can be read: the file is encrypted"):
        scan_archive(tmp_path)
    with pytest.raises(WalNotFound, match="it is not a directory; name the directory"):
        scan_archive(tmp_path / "missing")
    with pytest.raises(ValueError, match="layout must be one of auto, plain, barman"):
        scan_archive(tmp_path, layout="barmn")


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_segment_that_is_no_file_is_a_finding(archive: Path, kind: str) -> None:
    path = archive / "0000000100000000000000F0"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("missing")
    [finding, *_] = [f for f in scan_archive(archive).findings if f.path == path]
    assert finding.problem is ArchiveProblem.DAMAGED


@pytest.mark.parametrize("layout", ["walg", "AUTO", None])
def test_an_unknown_layout_is_refused(archive: Path, layout: str) -> None:
    with pytest.raises(ValueError, match="layout must be one of auto, plain, barman"):
        scan_archive(archive, layout=layout)
    with pytest.raises(HostFileError, match="File name too long"):
        scan_archive("x" * 5000)
