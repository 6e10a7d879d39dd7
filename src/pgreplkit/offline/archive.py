"""ArchiveReport: the content of a WAL archive, and its faults."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from pgreplkit._text import counted
from pgreplkit.errors import WalNotFound
from pgreplkit.offline.files import FoundFile
from pgreplkit.offline.layouts import ArchiveLayout
from pgreplkit.offline.pages import WalFileHeader
from pgreplkit.offline.path import WalPath
from pgreplkit.values.finding import Severity
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.rows import Rows
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.text import wrapped
from pgreplkit.values.timeline import TimelineHistory
from pgreplkit.values.walfile import WalFileName
from pgreplkit.values.walrange import WalRange

if TYPE_CHECKING:
    from pgreplkit.offline.backups import Backup
    from pgreplkit.offline.windows import PitrWindow


class ArchiveProblem(OpenEnum):
    """The kind of an ArchiveFinding."""

    MISSING = "missing"
    """Files between others are missing."""
    WRONG_SIZE = "wrong size"
    OTHER_ADDRESS = "other address"
    """A file holds other WAL than its name promises: it was recycled or renamed."""
    OTHER_SYSTEM = "other system"
    OTHER_VERSION = "other version"
    DAMAGED = "damaged"
    DUPLICATE = "duplicate"
    """A segment exists twice, with different contents."""
    PARTIAL = "partial"
    RECYCLED = "recycled"
    """Files in a server's pg_wal that it has prepared for later WAL."""
    HISTORY_MISSING = "history missing"
    HISTORY_CONTRADICTS = "history contradicts"
    UNREADABLE = "unreadable"
    """A file cannot be checked: it is encrypted, or its compression is not supported here.

    Nothing is claimed for its WAL, so that the archive is not complete.
    """
    MISPLACED = "misplaced"
    """A file is in a directory in which Barman or pgBackRest does not look for it."""
    TEMPORARY = "temporary"
    FOREIGN = "foreign"
    """A file that does not belong into an archive."""


@attrs.frozen
class ArchiveFinding(Record):
    """A problem of an archive."""

    problem: ArchiveProblem
    severity: Severity
    found: str
    remedy: str
    path: Path | None = None
    timeline: int | None = None
    wal: WalRange | None = None
    """The range of WAL that cannot be restored because of it."""

    def __str__(self) -> str:
        return "\n".join(wrapped(f"{self.severity}: {self.found}; {self.remedy}", then="    "))


@attrs.frozen
class ArchiveRange(Record):
    """Consecutive files of one timeline."""

    timeline: int
    first: WalFileName
    last: WalFileName
    files: int

    @property
    def wal(self) -> WalRange:
        """The range of WAL in the files."""
        return range_of(self.first.number, self.last.number, self.first.segment_size)

    def __str__(self) -> str:
        files = counted(self.files, "file")
        return f"timeline {self.timeline}: {self.first} to {self.last} ({files})"


@attrs.frozen(kw_only=True)
class ArchiveReport(Record):
    """The WAL in an archive, by timeline, with all problems that were found.

    Created by ``scan_archive``.
    """

    _left_out = ("gaps",)

    directory: Path
    layout: ArchiveLayout
    major: int
    system_id: int
    segment_size: SegmentSize
    ranges: tuple[ArchiveRange, ...]
    """The consecutive files of each timeline, without those that cannot be used."""
    findings: tuple[ArchiveFinding, ...]
    """The problems, the worst first."""
    histories: tuple[TimelineHistory, ...]
    """The history of each timeline with WAL files, oldest first."""
    _header: WalFileHeader = attrs.field(repr=False)
    _segments: dict[tuple[int, int], FoundFile] = attrs.field(repr=False)
    """The usable file of each timeline and segment number."""

    @property
    def gaps(self) -> tuple[ArchiveFinding, ...]:
        """The findings about missing files."""
        return tuple(f for f in self.findings if f.problem is ArchiveProblem.MISSING)

    @property
    def worst(self) -> Severity:
        """The highest severity among the findings."""
        return max((finding.severity for finding in self.findings), default=Severity.OK)

    @property
    def is_complete(self) -> bool:
        """True if all segments were checked, and nothing is wrong that would stop a recovery."""
        return self.worst < Severity.CRITICAL and not any(
            finding.problem is ArchiveProblem.UNREADABLE and finding.severity > Severity.INFO
            for finding in self.findings
        )

    def history(self, timeline: int | None = None) -> TimelineHistory:
        """Return the history of a timeline, by default of the newest one.

        Raises: WalNotFound if the archive has no WAL of the timeline.
        """
        # The newest first: it is the default, as recovery_target_timeline=latest.
        for history in reversed(self.histories):
            if timeline in (None, history.timeline):
                return history
        there = ", ".join(str(history.timeline) for history in self.histories)
        raise WalNotFound(
            f"follow timeline {timeline} in {self.directory}", f"it holds WAL of timeline {there}"
        )

    def _path(self, history: TimelineHistory) -> WalPath:
        """Return the files to read along a history."""
        chosen: dict[int, tuple[Path, int]] = {}
        size = self.segment_size.bytes
        for section in history.sections:
            # From the segment in which the timeline began: its file is a copy of the ancestor's up
            # to there.
            begin = int(section.start) // size
            end = None if section.end is None else int(section.end) // size
            for (timeline, number), file in self._segments.items():
                if (
                    timeline == section.timeline
                    and begin <= number
                    and (end is None or number < end)
                ):
                    chosen[number] = file.path, timeline
        return WalPath(self.directory, self._header, history, chosen)

    def files(
        self, wal: WalRange, history: TimelineHistory | int | None = None
    ) -> tuple[Path, ...]:
        """Return the files that recovery reads for a range, along a history.

        Raises: WalNotFound if one of them is missing, cannot be used, or cannot be checked.
        """
        if not isinstance(history, TimelineHistory):
            history = self.history(history)
        there = self._path(history).files
        found = []
        # One by one: a range up to the highest position has billions of files.
        for name in history.files(wal, segment_size=self.segment_size):
            if name.number not in there:
                raise WalNotFound(
                    f"find the WAL from {wal.start} to {wal.end} in {self.directory}",
                    f"{name} is missing or cannot be used",
                )
            found.append(there[name.number][0])
        return tuple(found)

    def covers(self, wal: WalRange, history: TimelineHistory | int | None = None) -> bool:
        """Return True if the archive holds a whole range, along a history.

        It is False if a file of the range cannot be checked.
        """
        try:
            self.files(wal, history)
        except WalNotFound:
            return False
        return True

    def windows(self, backups: "Iterable[Backup]") -> "Rows[PitrWindow]":
        """Return the points in time to which each backup can be restored, in the given order.

        The end of each window is read from the last segments before the archive ends or has a gap.
        Damage inside earlier files is known only if the archive was scanned with ``verify``.

        Raises: HostFileError.
        """
        from pgreplkit.offline.windows import windows_of

        return windows_of(self, backups)

    def __str__(self) -> str:
        head = f"{self.directory} ({self.layout}, PostgreSQL {self.major}, system {self.system_id})"
        return "\n".join([*wrapped(head), *map(str, self.ranges), *map(str, self.findings)])


def named_files(first: WalFileName, last: WalFileName) -> str:
    """Name consecutive files as the subject of a sentence.

    >>> named_files(WalFileName(1, 2), WalFileName(1, 3))
    '2 files from 000000010000000000000002 to 000000010000000000000003 are'
    """
    if first == last:
        return f"{first} is"
    return f"{last - first + 1} files from {first} to {last} are"


def range_of(first: int, last: int, segment_size: SegmentSize) -> WalRange:
    """Return the WAL of the segments from number ``first`` to ``last``, both included."""
    size = segment_size.bytes
    # The end of the very last segment is not an LSN.
    return WalRange(LSN(first * size), LSN(min((last + 1) * size, int(LSN.MAX))))
