"""The checks of an archive: file names, headers and histories to findings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import attrs

from pgreplkit.errors import Error, ExtraMissing, InvalidTimelineHistory
from pgreplkit.offline.archive import (
    ArchiveFinding,
    ArchiveProblem,
    ArchiveRange,
    named_files,
    range_of,
)
from pgreplkit.offline.compression import content_size, read_pieces
from pgreplkit.offline.damage import InvalidWal
from pgreplkit.offline.files import (
    FoundFile,
    WalFileKind,
    found_file,
    translate_os_errors,
)
from pgreplkit.offline.framing import FileForm
from pgreplkit.offline.headers import Headers
from pgreplkit.offline.pages import WalFileHeader
from pgreplkit.offline.path import read_history
from pgreplkit.values.finding import Severity
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.timeline import TimelineHistory
from pgreplkit.values.walfile import WalFileName

Segments = Mapping[tuple[int, int], FoundFile]
"""Files by timeline and number."""

RESTORE = "restore the file from another copy of the WAL"
_BARMANS = "xlog.db"
"""Newer versions put the server's name before it."""
_KNOWN = re.compile(r"(archive\.info(\.copy)?|xlog\.db|[0-9A-F]{24}_delta(\.\w+)?)$")
"""Files of the tools themselves; WAL-G lists the blocks of 16 segments in a ``_delta``."""


def segment_problem(
    file: FoundFile, headers: Headers, reference: WalFileHeader
) -> ArchiveFinding | None:
    """Return the reason why recovery could not use a segment; None if nothing is wrong."""
    size, name = reference.segment_size, file.path.name
    number, header = file.number(size), headers.read.get(file.path)
    problem, found = ArchiveProblem.OTHER_SYSTEM, ""
    # One problem for each file, the one that explains the others first.
    if header is None:
        problem = ArchiveProblem.DAMAGED
        found = f"{name} is damaged: {headers.broken[file.path]}"
    elif header.system_id != reference.system_id:
        found = f"{name} is of system {header.system_id}"
    elif header.major != reference.major:
        problem, found = ArchiveProblem.OTHER_VERSION, f"{name} is of version {header.major}"
    elif header.segment_size != size or number is None:
        found = f"{name} is of a system with segments of {header.segment_size}"
    elif int(header.lsn) != number * size.bytes:
        problem, found = ArchiveProblem.OTHER_ADDRESS, f"{name} holds the WAL of {header.lsn}"
    # A file may begin with pages of an older timeline, copied at a promotion, not of a newer one.
    elif header.timeline > file.timeline:
        problem = ArchiveProblem.OTHER_ADDRESS
        found = f"{name} holds the WAL of timeline {header.timeline}"
    else:
        problem, found = _size_problem(file, headers, size)
    if not found:
        return None
    wal = None if number is None else range_of(number, number, size)
    return ArchiveFinding(problem, Severity.CRITICAL, found, RESTORE, file.path, file.timeline, wal)


def _size_problem(
    file: FoundFile, headers: Headers, size: SegmentSize
) -> tuple[ArchiveProblem, str]:
    form = headers.forms[file.path]
    try:
        # Of thousands of files, those that are not compressed need not be opened again.
        content = file.size if form is FileForm.PLAIN else content_size(file.path, form)
    except InvalidWal as error:
        return ArchiveProblem.DAMAGED, f"{file.path.name} is damaged: {error.found}"
    # Not every compressed file states the size of its content.
    has_other_size = content not in (None, size.bytes)
    found = f"{file.path.name} has {content} bytes, not {size.bytes}" if has_other_size else ""
    return ArchiveProblem.WRONG_SIZE, found


def unreadable_files(
    files: Iterable[FoundFile], headers: Headers, segments: Segments, size: SegmentSize
) -> Iterator[ArchiveFinding]:
    """Report the segments that cannot be checked; they matter less if a copy can be."""
    for file in files:
        number = file.number(size)
        has_copy = (file.timeline, number) in segments
        finding = _unreadable(file.path, headers.unreadable[file.path])
        yield attrs.evolve(
            finding,
            severity=Severity.INFO if has_copy else Severity.WARNING,
            timeline=file.timeline,
            wal=None if number is None else range_of(number, number, size),
        )


def _unreadable(path: Path, reason: str) -> ArchiveFinding:
    return ArchiveFinding(
        ArchiveProblem.UNREADABLE,
        Severity.WARNING,
        f"{path.name} cannot be checked: {reason}",
        "check a decrypted or decompressed copy",
        path,
    )


def duplicate(first: FoundFile, second: FoundFile) -> ArchiveFinding:
    """Report two files of one segment, and compare them."""
    names = f"{first.path.name} and {second.path.name} are the same segment"
    # A compressed and a plain copy of one segment are usual, after an archive_command was changed.
    if not _are_equal(first.path, second.path):
        return ArchiveFinding(
            ArchiveProblem.DUPLICATE,
            Severity.CRITICAL,
            f"{names} with different contents",
            "find out which one is right, and move the other away",
            second.path,
            second.timeline,
        )
    return ArchiveFinding(
        ArchiveProblem.DUPLICATE,
        Severity.INFO,
        names,
        "one of them can be removed",
        second.path,
        second.timeline,
    )


def _are_equal(first: Path, second: Path) -> bool:
    try:
        return b"".join(read_pieces(first)) == b"".join(read_pieces(second))
    except InvalidWal:
        # Not both are whole, so that they cannot be equal.
        return False


def recycled(
    problems: dict[FoundFile, ArchiveFinding],
    segments: Segments,
    headers: Headers,
    reference: WalFileHeader,
) -> Iterator[ArchiveFinding]:
    """Report the files that a server has prepared for later WAL, and remove their problems.

    It renames old files for this, and does not clear them, or creates empty ones.
    """
    size = reference.segment_size
    written = max((number for _, number in segments), default=0)
    prepared = {}
    for file in problems:
        number, header = file.number(size), headers.read.get(file.path)
        is_older = (
            header is not None
            and header.system_id == reference.system_id
            and int(header.lsn) < written * size.bytes + size.bytes
        )
        if number is not None and number > written and (file.path in headers.empty or is_older):
            prepared[file.timeline, number] = file
    for run in runs(sorted(prepared)):
        for key in run:
            del problems[prepared[key]]
        (timeline, first), (_, last) = run[0], run[-1]
        names = WalFileName(timeline, first, size), WalFileName(timeline, last, size)
        yield ArchiveFinding(
            ArchiveProblem.RECYCLED,
            Severity.INFO,
            f"{named_files(*names)} prepared for later WAL",
            "nothing to do",
            timeline=timeline,
        )


def partials(
    listed: Iterable[FoundFile], segments: Segments, size: SegmentSize
) -> Iterator[ArchiveFinding]:
    """Report incomplete segments, with or without their complete twin."""
    for file in listed:
        if file.kind is not WalFileKind.PARTIAL:
            continue
        # pg_receivewal writes it until a segment is complete, a promoted server for the last
        # segment of the old timeline.
        is_twin = (file.timeline, file.number(size)) in segments
        found = f"{file.path.name} is an incomplete segment"
        yield ArchiveFinding(
            ArchiveProblem.PARTIAL,
            Severity.INFO,
            f"{found}, and the complete one exists too" if is_twin else found,
            "it can be removed" if is_twin else "recovery does not read it under this name",
            file.path,
            file.timeline,
        )


def incomplete_segments(
    listed: Iterable[FoundFile], headers: Headers, reference: WalFileHeader
) -> Iterator[tuple[int, int]]:
    """Return the timeline and the number of the incomplete segments, if their content agrees."""
    size = reference.segment_size
    for file in listed:
        number, header = file.number(size), headers.read.get(file.path)
        if file.kind is not WalFileKind.PARTIAL or number is None or header is None:
            continue
        # Its name alone proves nothing.
        if int(header.lsn) == number * size.bytes and header.system_id == reference.system_id:
            yield file.timeline, number


def other_files(listed: Iterable[FoundFile]) -> Iterator[ArchiveFinding]:
    """Report the files that are neither WAL nor a tool's own."""
    for file in listed:
        name = file.path.name
        if file.kind is WalFileKind.TEMPORARY:
            yield ArchiveFinding(
                ArchiveProblem.TEMPORARY,
                Severity.INFO,
                f"{name} is a temporary file",
                "remove it if nothing is writing it",
                file.path,
            )
        elif file.kind is WalFileKind.OTHER and not _KNOWN.search(name):
            yield ArchiveFinding(
                ArchiveProblem.FOREIGN,
                Severity.INFO,
                f"{name} is not a WAL file",
                "move it away if it does not belong there",
                file.path,
            )


@attrs.frozen
class Histories:
    """The history of each timeline, and the problems with them."""

    histories: tuple[TimelineHistory, ...]
    findings: tuple[ArchiveFinding, ...]


def read_histories(listed: Iterable[FoundFile], segments: Segments, size: SegmentSize) -> Histories:
    """Read the history of each timeline that has segments."""
    files = {file.timeline: file.path for file in listed if file.kind is WalFileKind.HISTORY}
    histories, findings = [], []
    for timeline in sorted({timeline for timeline, _ in segments}):
        history = TimelineHistory(timeline)
        if timeline in files:
            try:
                history = read_history(files[timeline], timeline)
            except (InvalidTimelineHistory, InvalidWal, ExtraMissing) as error:
                findings.append(_history_problem(files[timeline], timeline, error))
        # Timeline 1 never has a history.
        elif timeline > 1:
            findings.append(
                ArchiveFinding(
                    ArchiveProblem.HISTORY_MISSING,
                    Severity.CRITICAL,
                    f"{timeline:08X}.history is missing",
                    "copy it from the pg_wal of a server",
                    timeline=timeline,
                )
            )
        histories.append(history)
        findings += _too_early(history, segments, size)
    return Histories(tuple(histories), tuple(findings))


def _history_problem(path: Path, timeline: int, error: Error) -> ArchiveFinding:
    if isinstance(error, ExtraMissing):
        return _unreadable(path, str(error))
    if isinstance(error, InvalidWal) and error.is_opaque:
        return _unreadable(path, error.found)
    return ArchiveFinding(
        ArchiveProblem.HISTORY_CONTRADICTS,
        Severity.CRITICAL,
        f"{path.name} is not a history: {error}",
        RESTORE,
        path,
        timeline,
    )


def _too_early(
    history: TimelineHistory, segments: Segments, size: SegmentSize
) -> Iterator[ArchiveFinding]:
    timeline = history.timeline
    start = history.section(timeline).start
    early = [n for of, n in segments if of == timeline and n < int(start) // size.bytes]
    if early:
        yield ArchiveFinding(
            ArchiveProblem.HISTORY_CONTRADICTS,
            Severity.CRITICAL,
            f"{WalFileName(timeline, min(early), size)} is older than its timeline, which began"
            f" at {start}",
            "check whether files of several systems are mixed",
            timeline=timeline,
        )


def registered_segments(listed: Iterable[FoundFile], size: SegmentSize) -> set[tuple[int, int]]:
    """Return the segments that Barman's xlog.db has: Barman archived them, and did not delete them.

    Raises: HostFileError.
    """
    found = set()
    for database in listed:
        if database.path.name.endswith(_BARMANS):
            with translate_os_errors(f"read {database.path}"):
                lines = database.path.read_text("utf-8", "replace").splitlines()
            for line in lines:
                file = found_file(Path(line.partition("\t")[0]), 0)
                number = file.number(size)
                if file.kind is WalFileKind.SEGMENT and number is not None:
                    found.add((file.timeline, number))
    return found


def gaps(
    histories: Iterable[TimelineHistory],
    present: set[tuple[int, int]],
    written: set[tuple[int, int]],
    incomplete: set[tuple[int, int]],
    size: SegmentSize,
) -> Iterator[ArchiveFinding]:
    """Report the missing files, along the history of each timeline.

    They are those between the segments that were ``written``: usable ones, and those in Barman's
    xlog.db. Files that are present but cannot be used have findings of their own. An incomplete
    segment shows that the ones before it were written.
    """
    # By their limits: between two segments can be billions.
    expected: dict[int, tuple[int, int]] = {}
    for history in histories:
        last = max(
            *(number for timeline, number in written if timeline == history.timeline),
            *(number - 1 for timeline, number in incomplete if timeline == history.timeline),
            -1,
        )
        for timeline, begin, end in _expected(history, written, last, size):
            # Several timelines can have a common ancestor.
            known = expected.get(timeline, (begin, end))
            expected[timeline] = min(known[0], begin), max(known[1], end)
    for timeline, (begin, end) in sorted(expected.items()):
        there = sorted(number for of, number in present if of == timeline)
        for first, last in _holes(begin, end, there):
            names = WalFileName(timeline, first, size), WalFileName(timeline, last, size)
            yield ArchiveFinding(
                ArchiveProblem.MISSING,
                Severity.CRITICAL,
                f"{named_files(*names)} missing",
                "restore from another copy, or take a new base backup",
                timeline=timeline,
                wal=range_of(first, last, size),
            )


def _expected(
    history: TimelineHistory, written: set[tuple[int, int]], last: int, size: SegmentSize
) -> Iterator[tuple[int, int, int]]:
    """Return the segments along a history, from the first one that was written.

    They are a timeline, its first segment, and the end of its segments.
    """
    limits = [
        (
            section.timeline,
            int(section.start) // size.bytes,
            last + 1 if section.end is None else min(last + 1, int(section.end) // size.bytes),
        )
        for section in history.sections
    ]
    known = [
        number
        for timeline, number in written
        for of, begin, end in limits
        if timeline == of and begin <= number < end
    ]
    first = min(known, default=last)
    for timeline, begin, end in limits:
        if max(first, begin) < end:
            yield timeline, max(first, begin), end


def _holes(begin: int, end: int, there: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Return the first and the last number of each hole in ascending numbers, up to ``end``.

    >>> [*_holes(3, 9, [1, 4, 5, 7])]
    [(3, 3), (6, 6), (8, 8)]
    """
    for number in [*there, end]:
        if begin < min(number, end):
            yield begin, min(number, end) - 1
        begin = max(begin, number + 1)


def runs(keys: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Group consecutive numbers of one timeline.

    >>> [len(run) for run in runs([(1, 4), (1, 5), (1, 7), (2, 8)])]
    [2, 1, 1]
    """
    run: list[tuple[int, int]] = []
    for timeline, number in keys:
        if run and run[-1] != (timeline, number - 1):
            yield run
            run = []
        run.append((timeline, number))
    if run:
        yield run


def ranges(segments: Segments, size: SegmentSize) -> Iterator[ArchiveRange]:
    """Group the usable segments of each timeline."""
    for run in runs(sorted(segments)):
        (timeline, first), (_, last) = run[0], run[-1]
        names = WalFileName(timeline, first, size), WalFileName(timeline, last, size)
        yield ArchiveRange(timeline, *names, len(run))
