"""The histories of an archive, and the segments that are missing along them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import attrs

from pgreplkit.errors import Error, ExtraMissing, HostFileError, InvalidTimelineHistory
from pgreplkit.offline.archive import ArchiveFinding, ArchiveProblem, named_files, range_of
from pgreplkit.offline.archivechecks import RESTORE, Segments, unreadable
from pgreplkit.offline.damage import InvalidWal
from pgreplkit.offline.files import FoundFile, WalFileKind, found_file, translate_os_errors
from pgreplkit.offline.headers import Headers
from pgreplkit.offline.pages import WalFileHeader
from pgreplkit.offline.path import read_history
from pgreplkit.values.finding import Severity
from pgreplkit.values.lsn import LSN
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.timeline import TimelineHistory, TimelineSwitch
from pgreplkit.values.walfile import WalFileName

_HISTORY_ERRORS = (InvalidTimelineHistory, InvalidWal, ExtraMissing, HostFileError)
_FROM_SERVER = "copy it from the pg_wal of a server"
_BARMANS = "xlog.db"
"""Newer versions put the server's name before it."""


@attrs.frozen
class Histories:
    """The history of each timeline, and the problems with them."""

    histories: tuple[TimelineHistory, ...]
    without_wal: tuple[TimelineHistory, ...]
    """The histories of timelines that have no segments, such as one that has just begun."""
    findings: tuple[ArchiveFinding, ...]


def read_histories(listed: Iterable[FoundFile], segments: Segments, size: SegmentSize) -> Histories:
    """Read all histories, and check those of timelines that have segments."""
    files = {file.timeline: file.path for file in listed if file.kind is WalFileKind.HISTORY}
    read: dict[int, TimelineHistory] = {}
    problems = {}
    for timeline, path in files.items():
        try:
            read[timeline] = read_history(path, timeline)
        except _HISTORY_ERRORS as error:
            problems[timeline] = _history_problem(path, timeline, error)
    histories, findings = [], []
    # No WAL depends on the others, so that broken ones among them are not a problem.
    for timeline in sorted({timeline for timeline, _ in segments}):
        history = read.get(timeline, TimelineHistory(timeline))
        if timeline in problems:
            findings.append(problems[timeline])
        elif timeline in read:
            findings += _contradictions(files[timeline], history, read)
        # Timeline 1 never has a history.
        elif timeline > 1:
            findings.append(
                ArchiveFinding(
                    ArchiveProblem.HISTORY_MISSING,
                    Severity.CRITICAL,
                    f"{timeline:08X}.history is missing",
                    _FROM_SERVER,
                    timeline=timeline,
                )
            )
        histories.append(history)
        findings += _too_early(history, segments, size)
    known = {history.timeline for history in histories}
    without_wal = (history for timeline, history in read.items() if timeline not in known)
    return Histories(tuple(histories), tuple(without_wal), tuple(findings))


def _contradictions(
    path: Path, history: TimelineHistory, others: Mapping[int, TimelineHistory]
) -> Iterator[ArchiveFinding]:
    """Report a history that a server cannot have written: it copies that of the timeline before,
    and adds a line.
    """
    found = f"{path.name} names no timeline before it"
    if history.switches:
        *before, last = history.switches
        parent = others.get(last.timeline)
        if parent is None or _points(before) == _points(parent.switches):
            return
        found = f"{path.name} contradicts {last.timeline:08X}.history"
    yield ArchiveFinding(
        ArchiveProblem.HISTORY_CONTRADICTS,
        Severity.CRITICAL,
        found,
        _FROM_SERVER,
        path,
        history.timeline,
    )


def _points(switches: Iterable[TimelineSwitch]) -> list[tuple[int, LSN]]:
    return [(switch.timeline, switch.switchpoint) for switch in switches]


def _history_problem(path: Path, timeline: int, error: Error) -> ArchiveFinding:
    if isinstance(error, ExtraMissing):
        return unreadable(path, str(error))
    if isinstance(error, HostFileError):
        return unreadable(path, error.found)
    if isinstance(error, InvalidWal) and error.is_opaque:
        return unreadable(path, error.found)
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
    segment shows that the ones before it were written, and so does the beginning of a timeline.
    """
    # By their limits: between two segments can be billions.
    expected: dict[int, tuple[int, int]] = {}
    for history in histories:
        own = history.timeline
        start = int(history.section(own).start) // size.bytes
        last = max(
            [
                *(number for timeline, number in written if timeline == own),
                *(number - 1 for timeline, number in incomplete if timeline == own),
                start - 1,
            ]
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
    if not known:
        return
    first = min(known)
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
