"""The checks of an archive's files: names, sizes and headers to findings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import attrs

from pgreplkit.offline.archive import (
    ArchiveFinding,
    ArchiveProblem,
    ArchiveRange,
    named_files,
    range_of,
)
from pgreplkit.offline.compression import content_size, read_most
from pgreplkit.offline.damage import InvalidWal
from pgreplkit.offline.files import (
    FoundFile,
    WalFileKind,
)
from pgreplkit.offline.framing import FileForm
from pgreplkit.offline.headers import Headers
from pgreplkit.offline.layouts import ArchiveLayout, Place
from pgreplkit.offline.pages import WalFileHeader
from pgreplkit.values.finding import Severity
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.walfile import WalFileName

Segments = Mapping[tuple[int, int], FoundFile]
"""Files by timeline and number."""

RESTORE = "restore the file from another copy of the WAL"
_KNOWN = re.compile(r"(archive\.info(\.copy)?|xlog\.db|[0-9A-F]{24}_delta(\.\w+)?)$")
"""Files of the tools themselves; WAL-G lists the blocks of 16 segments in a ``_delta``."""


def segment_problem(
    file: FoundFile, headers: Headers, reference: WalFileHeader, place: Place
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
    elif header.block_size != reference.block_size:
        problem, found = ArchiveProblem.DAMAGED, f"{name} has pages of {header.block_size} bytes"
    elif int(header.lsn) != number * size.bytes:
        problem, found = ArchiveProblem.OTHER_ADDRESS, f"{name} holds the WAL of {header.lsn}"
    # A file may begin with pages of an older timeline, copied at a promotion, not of a newer one.
    elif header.timeline > file.timeline:
        problem = ArchiveProblem.OTHER_ADDRESS
        found = f"{name} holds the WAL of timeline {header.timeline}"
    else:
        problem, found = _size_problem(file, headers, size)
    if not found:
        return _misplaced(file, place, size)
    wal = None if number is None else range_of(number, number, size)
    return ArchiveFinding(problem, Severity.CRITICAL, found, RESTORE, file.path, file.timeline, wal)


def _size_problem(
    file: FoundFile, headers: Headers, size: SegmentSize
) -> tuple[ArchiveProblem, str]:
    path, form = file.path, headers.forms[file.path]
    try:
        # Of thousands of files, those that are not compressed need not be opened again.
        content = file.size if form is FileForm.PLAIN else content_size(path, form)
        # The last of several gzip members states only its own size.
        if form is FileForm.GZIP and content != size.bytes and read_size(path, size) == size.bytes:
            return ArchiveProblem.WRONG_SIZE, ""
    except InvalidWal as error:
        return ArchiveProblem.DAMAGED, f"{file.path.name} is damaged: {error.found}"
    # Not every compressed file states the size of its content.
    has_other_size = content not in (None, size.bytes)
    found = f"{file.path.name} has {content} bytes, not {size.bytes}" if has_other_size else ""
    return ArchiveProblem.WRONG_SIZE, found


def _misplaced(file: FoundFile, place: Place, size: SegmentSize) -> ArchiveFinding | None:
    """Return a finding if the tool that wrote the archive would not find a segment."""
    name, folder = file.path.name, file.path.parent
    if folder == place.folder:
        # Only these tools always have directories of 4 GiB.
        is_found = place.layout not in (ArchiveLayout.BARMAN, ArchiveLayout.PGBACKREST)
    else:
        is_found = name.startswith(folder.name)
    if is_found:
        return None
    number = file.number(size) or 0
    return ArchiveFinding(
        ArchiveProblem.MISPLACED,
        Severity.CRITICAL,
        f"{name} is in the directory {folder.name}",
        f"move it into the directory {name[:16]}",
        file.path,
        file.timeline,
        range_of(number, number, size),
    )


def read_size(path: Path, size: SegmentSize) -> int:
    """Return the size of a file's content, by reading it; of too much content, a part is counted.

    Raises: HostFileError; InvalidWal; ExtraMissing.
    """
    return sum(map(len, read_most(path, size.bytes)))


def unreadable_files(
    files: Iterable[FoundFile], headers: Headers, segments: Segments, size: SegmentSize
) -> Iterator[ArchiveFinding]:
    """Report the segments that cannot be checked; they matter less if a copy can be."""
    for file in files:
        number = file.number(size)
        has_copy = (file.timeline, number) in segments
        finding = unreadable(file.path, headers.unreadable[file.path])
        yield attrs.evolve(
            finding,
            severity=Severity.INFO if has_copy else Severity.WARNING,
            timeline=file.timeline,
            wal=None if number is None else range_of(number, number, size),
        )


def unreadable(path: Path, reason: str) -> ArchiveFinding:
    """Report a file that cannot be checked."""
    return ArchiveFinding(
        ArchiveProblem.UNREADABLE,
        Severity.WARNING,
        f"{path.name} cannot be checked: {reason}",
        "check a decrypted, decompressed or readable copy",
        path,
    )


def duplicate(first: FoundFile, second: FoundFile, size: SegmentSize) -> ArchiveFinding:
    """Report two files of one segment, and compare them."""
    names = f"{first.path.name} and {second.path.name} are the same segment"
    # A compressed and a plain copy of one segment are usual, after an archive_command was changed.
    if not _are_equal(first.path, second.path, size):
        number = first.number(size) or 0
        return ArchiveFinding(
            ArchiveProblem.DUPLICATE,
            Severity.CRITICAL,
            f"{names} with different contents",
            "find out which one is right, and move the other away",
            second.path,
            second.timeline,
            range_of(number, number, size),
        )
    return ArchiveFinding(
        ArchiveProblem.DUPLICATE,
        Severity.INFO,
        names,
        "one of them can be removed",
        second.path,
        second.timeline,
    )


def _are_equal(first: Path, second: Path, size: SegmentSize) -> bool:
    try:
        return content_hash(first, size).digest() == content_hash(second, size).digest()
    except InvalidWal:
        # Not both are whole, so that they cannot be equal.
        return False


def content_hash(path: Path, size: SegmentSize) -> hashlib._Hash:
    """Return the SHA-1 of a segment's content, which pgBackRest uses too.

    Raises: HostFileError; InvalidWal; ExtraMissing.
    """
    content = hashlib.sha1(usedforsecurity=False)
    for piece in read_most(path, size.bytes):
        content.update(piece)
    return content


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
            "it can be removed if it has no WAL that the complete one lacks"
            if is_twin
            else "recovery does not read it under this name",
            file.path,
            file.timeline,
        )


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
