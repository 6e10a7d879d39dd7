"""WalPath: the files that hold the WAL of a timeline and its ancestors, in order."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import attrs

from pgreplkit.errors import WalNotFound
from pgreplkit.offline.compression import read_head, read_small
from pgreplkit.offline.damage import InvalidWal
from pgreplkit.offline.files import (
    FoundFile,
    WalFileKind,
    found_file,
    list_folder,
    translate_os_errors,
)
from pgreplkit.offline.pages import LONG, WalFileHeader, file_header
from pgreplkit.values.lsn import LSN
from pgreplkit.values.timeline import TimelineHistory

_ANY_TIMELINE = (1 << 32) - 1
"""For a file whose name has no timeline: no page in it can be newer."""


@attrs.frozen
class WalPath:
    """The files to read for a history, by the number of their segment."""

    place: Path
    """The directory or file that was opened."""
    header: WalFileHeader
    """The header of the first file."""
    history: TimelineHistory
    files: dict[int, tuple[Path, int]]
    """The path and the newest timeline of each segment."""

    @property
    def first(self) -> int:
        """The number of the first segment."""
        return min(self.files)

    def has_later(self, number: int) -> bool:
        """Return True if there are files after a segment."""
        return max(self.files) > number

    def segment_of(self, lsn: LSN) -> int:
        """Return the number of the segment of a position.

        Raises: WalNotFound if there is no file for it.
        """
        size = self.header.segment_size.bytes
        number = int(lsn) // size
        # On a boundary, the file of the next record may not exist yet.
        is_end = int(lsn) == (max(self.files) + 1) * size
        if number not in self.files and not is_end:
            first, last = LSN(min(self.files) * size), max(self.files) * size + size
            end = LSN(min(last, int(LSN.MAX)))
            raise WalNotFound(
                f"read WAL from {lsn} on",
                f"{self.place} has no file for it on timeline {self.history.timeline}, and holds"
                f" WAL from {first} to {end}",
            )
        return number


def header_of(path: Path) -> WalFileHeader:
    """Read the header of a WAL file, compressed or not.

    Raises: InvalidWal; HostFileError; ExtraMissing.
    """
    _, head = read_head(path, LONG.size)
    try:
        return file_header(head)
    except InvalidWal as error:
        raise InvalidWal(error.found, path=str(path), remedy=error.remedy) from None


def find_path(place: Path, timeline: int | TimelineHistory | None) -> WalPath:
    """Find the files of a history in a directory, or take a single file.

    Raises: WalNotFound; InvalidWal; HostFileError.
    """
    with translate_os_errors(f"read {place}"):
        is_folder = place.is_dir()
    if not is_folder:
        return _single(place, timeline)
    listed = list_folder(place)
    files = [file for file in listed if file.kind in (WalFileKind.SEGMENT, WalFileKind.PARTIAL)]
    if not files:
        remedy = "name a directory of WAL files, such as pg_wal or an archive"
        raise WalNotFound(f"read WAL in {place}", "it holds no WAL files", remedy=remedy)
    history = timeline_history(listed, timeline)
    # An archive may also have timelines that were given up.
    known = {*history.timelines}
    on_path = [file for file in files if file.timeline in known]
    if not on_path:
        there = ", ".join(str(number) for number in sorted({file.timeline for file in files}))
        raise WalNotFound(
            f"read WAL of timeline {history.timeline} in {place}",
            f"it holds WAL of timeline {there}",
        )
    header = _first_header(on_path)
    chosen = choose(on_path, header, history)
    if not chosen:
        raise WalNotFound(
            f"read WAL of timeline {history.timeline} in {place}",
            "its files are not on the path of that timeline's history",
        )
    return WalPath(place, header, history, chosen)


def _single(place: Path, timeline: int | TimelineHistory | None) -> WalPath:
    header = header_of(place)
    named = found_file(place, 0)
    newest, number = named.timeline or _ANY_TIMELINE, named.number(header.segment_size)
    # A file under another name, such as a copy, has its position in its first page.
    if not named.timeline or number is None:
        number = int(header.lsn) // header.segment_size.bytes
    history = TimelineHistory(named.timeline or header.timeline)
    if timeline is not None:
        asked = timeline if isinstance(timeline, TimelineHistory) else TimelineHistory(timeline)
        if history.timeline not in asked.timelines:
            raise WalNotFound(
                f"read WAL of timeline {asked.timeline} in {place}",
                f"it holds WAL of timeline {history.timeline}",
            )
    return WalPath(place, header, history, {number: (place, newest)})


def timeline_history(
    listed: Iterable[FoundFile], timeline: int | TimelineHistory | None
) -> TimelineHistory:
    """Return the history to follow: by default that of the newest timeline.

    A timeline whose history file does not exist is read alone.
    """
    if isinstance(timeline, TimelineHistory):
        return timeline
    histories = {file.timeline: file.path for file in listed if file.kind is WalFileKind.HISTORY}
    if timeline is None:
        kinds = (WalFileKind.SEGMENT, WalFileKind.PARTIAL)
        # Of the files, not of the histories: a history may be archived before the first WAL of its
        # timeline.
        timeline = max(file.timeline for file in listed if file.kind in kinds)
    if timeline in histories:
        return read_history(histories[timeline], timeline)
    return TimelineHistory(timeline)


def read_history(path: Path, timeline: int) -> TimelineHistory:
    """Read the history file of a timeline, compressed or not.

    Raises: InvalidTimelineHistory; HostFileError; InvalidWal.
    """
    return TimelineHistory.from_bytes(read_small(path), timeline=timeline)


def _first_header(files: Iterable[FoundFile]) -> WalFileHeader:
    """Return the first header that is at its own place: recycled files come last."""
    problem: InvalidWal | None = None
    for file in sorted(files, key=lambda file: (file.log, file.segment, -file.timeline)):
        try:
            header = header_of(file.path)
        except InvalidWal as error:
            problem = problem or error
            continue
        if file.number(header.segment_size) == int(header.lsn) // header.segment_size.bytes:
            return header
        problem = problem or InvalidWal(
            f"the file holds the WAL of {header.lsn}",
            path=str(file.path),
            remedy="rename the file, or restore it from another copy",
        )
    raise problem or InvalidWal("there are no files")


def choose(
    files: Iterable[FoundFile], header: WalFileHeader, history: TimelineHistory
) -> dict[int, tuple[Path, int]]:
    """Choose the file of each segment: that of the newest timeline which begins in or before it.

    A complete file is preferred to a partial one, and a plain file to a compressed one.
    """
    size = header.segment_size.bytes
    begins = {section.timeline: int(section.start) // size for section in history.sections}
    ends = {
        section.timeline: None if section.end is None else int(section.end) // size
        for section in history.sections
    }
    ranked: dict[int, tuple[tuple[int, bool, int], FoundFile]] = {}
    for file in files:
        number = file.number(header.segment_size)
        end = ends[file.timeline]
        # A segment in which a timeline ends is complete only on the next one, which has a copy.
        if number is None or number < begins[file.timeline] or (end is not None and number >= end):
            continue
        # By size: a compressed file is smaller than a plain one.
        rank = (file.timeline, file.kind is WalFileKind.SEGMENT, file.size)
        if number not in ranked or rank > ranked[number][0]:
            ranked[number] = rank, file
    return {number: (file.path, file.timeline) for number, (_, file) in ranked.items()}
