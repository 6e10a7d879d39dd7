"""scan_archive: find out what a WAL archive contains, and what recovery would miss."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import attrs

from pgreplkit.errors import HostFileError, WalNotFound
from pgreplkit.offline import archivechecks as checks, archivegaps
from pgreplkit.offline.archive import ArchiveFinding, ArchiveProblem, ArchiveReport, range_of
from pgreplkit.offline.compression import content_size, form_of
from pgreplkit.offline.damage import InvalidWal
from pgreplkit.offline.files import FoundFile, WalFileKind, list_folder
from pgreplkit.offline.headers import Headers
from pgreplkit.offline.layouts import NO_ARCHIVE, ArchiveLayout, Place, find_place
from pgreplkit.offline.pages import WalFileHeader
from pgreplkit.offline.path import WalPath
from pgreplkit.offline.reader import WalReader
from pgreplkit.offline.walk import WalEnd
from pgreplkit.values.finding import Severity
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.timeline import TimelineHistory

_RETRIES = 2
"""In pg_wal, the server writes, removes and renames files while they are read one by one."""
_WITH_WAL = (WalFileKind.SEGMENT, WalFileKind.PARTIAL)


def scan_archive(
    directory: str | os.PathLike[str],
    *,
    layout: ArchiveLayout | str = ArchiveLayout.AUTO,
    verify: bool = False,
) -> ArchiveReport:
    """Find out what a WAL archive contains, and what recovery would miss.

    It reads names, sizes and the first bytes of each file. With ``verify`` it reads all records,
    and checks their CRC, and the SHA-1 in the names of pgBackRest. Only this shows that a file has
    another size than a segment if it does not state its size: bzip2, lzma and brotli, and lz4 and
    zstd from a pipe. The directories of Barman, pgBackRest and WAL-G are recognized, and so is a
    plain directory of WAL files, compressed or not. In the pg_wal of a server, files that it has
    prepared for later WAL are not a fault. Nothing is claimed for a file that cannot be read: the
    archive is not complete, and ``covers`` is False.

    Raises: WalNotFound if there is no WAL, or not in that layout; HostFileError; ValueError for an
    unknown layout.
    """
    checked_flags(verify=verify)
    place = find_place(Path(directory), ArchiveLayout.known(layout, "layout"))
    if place.layout is ArchiveLayout.PG_WAL:
        for _ in range(_RETRIES):
            with suppress(HostFileError):
                report = _scan(place, verify=verify)
                if report.worst < Severity.CRITICAL:
                    return report
    return _scan(place, verify=verify)


def _scan(place: Place, *, verify: bool) -> ArchiveReport:
    listed = list_folder(place.folder)
    headers = Headers(file for file in listed if file.kind in _WITH_WAL)
    listed = [file for file in listed if file.path not in headers.removed]
    reference = headers.reference()
    # A scan that looked at nothing must not find an archive without faults.
    if reference is None:
        why = next(iter([*headers.unreadable.values(), *headers.broken.values()]), "")
        operation = f"scan the archive {place.folder}"
        if why:
            raise WalNotFound(operation, f"none of its WAL files can be read: {why}")
        raise WalNotFound(operation, "it holds no WAL files", remedy=NO_ARCHIVE)
    report = _report(place, listed, headers, reference)
    return _verified(report) if verify else report


def _report(
    place: Place, listed: list[FoundFile], headers: Headers, reference: WalFileHeader
) -> ArchiveReport:
    size = reference.segment_size
    problems: dict[FoundFile, ArchiveFinding] = {}
    duplicates, doubtful = [], set()
    segments: dict[tuple[int, int], FoundFile] = {}
    present = set()
    unreadable = {}
    for file in listed:
        if file.kind is not WalFileKind.SEGMENT:
            continue
        number = file.number(size)
        key = file.timeline, -1 if number is None else number
        # A segment that is damaged is not missing: it is reported once, as damaged.
        present.add(key)
        if file.path in headers.unreadable:
            unreadable[file] = key
            continue
        problem = checks.segment_problem(file, headers, reference, place)
        if problem is not None:
            problems[file] = problem
            continue
        first = segments.setdefault(key, file)
        if first is not file:
            duplicates.append(checks.duplicate(first, file, size))
            if duplicates[-1].severity is Severity.CRITICAL:
                doubtful.add(key)
    # Which of them a recovery would read depends on its restore_command.
    for key in doubtful:
        del segments[key]
    findings = [*_older_systems(place.others), *duplicates]
    # In an archive such a file is a fault: recovery would end at it.
    if place.layout is ArchiveLayout.PG_WAL:
        findings += checks.recycled(problems, segments, headers, reference)
    findings += problems.values()
    findings += checks.unreadable_files(unreadable, headers, segments, size)
    known = archivegaps.read_histories(listed, segments, size)
    findings += known.findings
    findings += checks.partials(listed, segments, size)
    findings += checks.other_files(listed)
    # What cannot be read shows at least that the segments before it were written.
    written = {*segments, *doubtful, *unreadable.values()}
    written |= archivegaps.registered_segments(listed, size)
    incomplete = {*archivegaps.incomplete_segments(listed, headers, reference)}
    histories = known.histories + known.without_wal
    findings += archivegaps.gaps(histories, present, written, incomplete, size)
    return ArchiveReport(
        directory=place.folder,
        layout=place.layout,
        major=reference.major,
        system_id=reference.system_id,
        segment_size=size,
        ranges=tuple(checks.ranges(segments, size)),
        findings=_sorted(findings),
        histories=known.histories,
        header=reference,
        segments=segments,
    )


def _sorted(findings: Iterable[ArchiveFinding]) -> tuple[ArchiveFinding, ...]:
    return tuple(sorted(findings, key=lambda finding: finding.severity, reverse=True))


def _older_systems(others: Iterable[Path]) -> Iterator[ArchiveFinding]:
    for path in others:
        yield ArchiveFinding(
            ArchiveProblem.OTHER_SYSTEM,
            Severity.INFO,
            f"{path} holds the WAL of an older system",
            "scan it by its own path",
            path,
        )


def _verified(report: ArchiveReport) -> ArchiveReport:
    """Read all records; segments with damage become unusable."""
    # The checksum covers bytes without a CRC too, such as the rest after a switch.
    damaged = [*_altered(report)]
    altered = {finding.path for finding in damaged}
    segments = {key: file for key, file in report._segments.items() if file.path not in altered}
    # Consecutive segments together: a record may continue in the next file.
    for run in [*checks.runs(sorted(segments))]:
        rest = run
        # After damage, reading begins again with the next segment, to find all damaged ones.
        while rest:
            finding, read = _read(report, rest)
            if finding is not None:
                damaged.append(finding)
                segments.pop(rest[read], None)
            rest = rest[read + 1 :]
    return attrs.evolve(
        report,
        segments=segments,
        ranges=tuple(checks.ranges(segments, report.segment_size)),
        findings=_sorted([*report.findings, *damaged]),
    )


def _altered(report: ArchiveReport) -> Iterator[ArchiveFinding]:
    """Report the files whose content has another size than a segment, or another SHA-1 than
    pgBackRest put into their names.
    """
    size = report.segment_size
    for (_, number), file in report._segments.items():
        # Reading its records reports a file that cannot be decompressed.
        with suppress(InvalidWal):
            problem, found = _alteration(file, size)
            if found:
                yield _damage(file, number, size, f"{file.path.name} {found}", problem)


def _alteration(file: FoundFile, size: SegmentSize) -> tuple[ArchiveProblem, str]:
    if file.checksum is not None:
        content = checks.content_hash(file.path, size).hexdigest()
        is_altered = content != file.checksum
        found = f"is damaged: its content has the SHA-1 {content}" if is_altered else ""
        return ArchiveProblem.DAMAGED, found
    # The scan knows the size of the others already.
    has_size = content_size(file.path, form_of(file.path)) is not None
    is_whole = has_size or checks.read_size(file.path, size) == size.bytes
    return ArchiveProblem.WRONG_SIZE, "" if is_whole else f"does not hold {size.bytes} bytes"


def _read(report: ArchiveReport, run: list[tuple[int, int]]) -> tuple[ArchiveFinding | None, int]:
    """Read consecutive segments up to the first damage; return it, and the place of the segment."""
    timeline, first = run[0]
    files = {number: (report._segments[timeline, number].path, timeline) for _, number in run}
    path = WalPath(report.directory, report._header, TimelineHistory(timeline), files)
    reader = WalReader(path, start=None, stop_at=None, strict=False, verify_crc=True)
    lsn = found = None
    last = run[-1][1]
    try:
        for _ in reader.batches():
            pass
    except InvalidWal as error:
        lsn, found = error.lsn, error.found
        last = next(
            (number for number, (path, _) in files.items() if str(path) == error.path), last
        )
    # In an archive, leftovers of a recycled file are damage: only complete files are archived.
    damages = {WalEnd.DAMAGE, WalEnd.RECYCLED}
    if report.layout is ArchiveLayout.PG_WAL:
        damages = {WalEnd.DAMAGE}
    if found is None and reader.ended_by in damages:
        lsn, found = reader.end_lsn, reader.end_reason
    if found is None:
        return None, len(run)
    size = report.segment_size
    # Damage can be found at the end of a file, where the position already belongs to the next one.
    number = min(max(first if lsn is None else int(lsn) // size.bytes, first), last)
    file = report._segments[timeline, number]
    return _damage(file, number, size, f"{file.path.name} is damaged at {lsn}: {found}"), (
        number - first
    )


def _damage(
    file: FoundFile,
    number: int,
    size: SegmentSize,
    found: str,
    problem: ArchiveProblem = ArchiveProblem.DAMAGED,
) -> ArchiveFinding:
    return ArchiveFinding(
        problem,
        Severity.CRITICAL,
        found,
        checks.RESTORE,
        file.path,
        file.timeline,
        range_of(number, number, size),
    )
