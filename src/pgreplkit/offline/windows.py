"""PitrWindow: the points in time to which a backup can be restored with an archive."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import attrs

from pgreplkit.offline.archive import ArchiveReport, range_of
from pgreplkit.offline.backups import Backup, BackupStatus
from pgreplkit.offline.damage import InvalidWal
from pgreplkit.offline.kinds import SWITCH, XLOG
from pgreplkit.offline.path import WalPath
from pgreplkit.offline.reader import WalReader
from pgreplkit.offline.records import WalRecord
from pgreplkit.offline.walk import WalEnd
from pgreplkit.offline.xacts import end_time
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.rows import Rows
from pgreplkit.values.text import wrapped
from pgreplkit.values.timeline import TimelineHistory
from pgreplkit.values.walfile import WalFileName


class WindowEnd(OpenEnum):
    """The reason why a window ends."""

    END = "end of the archive"
    GAP = "gap"
    """A file is missing or cannot be used, and later files exist."""
    DAMAGE = "damage"
    NOT_RESTORABLE = "not restorable"
    """The backup cannot be restored at all."""


@attrs.frozen(kw_only=True)
class PitrWindow(Record):
    """From when until when a backup can be restored.

    Recovery can stop at any position from ``from_lsn`` to ``to_lsn``; both are None if the backup
    cannot be restored.
    """

    _first = ("backup_id", "is_restorable", "from_lsn", "to_lsn", "until", "ended_by")

    backup: Backup
    timeline: int
    """The timeline along whose history the archive is read."""
    from_lsn: LSN | None
    """The position at which the backup is consistent."""
    to_lsn: LSN | None
    """The last complete record before the archive ends: the highest recovery_target_lsn."""
    until: datetime | None
    """The latest recovery_target_time that is reached; None if no commit follows the backup.

    It is a microsecond before the last commit, because recovery to a time stops when it meets a
    later commit. To restore that commit too, use ``to_lsn``.
    """
    last_commit: datetime | None
    """The time of the last commit in the window."""
    ended_by: WindowEnd
    reason: str
    """The obstacle that stops recovery, in words."""

    @property
    def is_restorable(self) -> bool:
        """True if the backup can be restored at least to its own end."""
        return self.to_lsn is not None

    def __contains__(self, target: LSN | datetime) -> bool:
        """Return True if recovery can stop at a position, or at a time."""
        if self.from_lsn is None or self.to_lsn is None:
            return False
        if isinstance(target, datetime):
            # Before the backup ended, its files are not consistent yet.
            begin = self.backup.stop_time or self.backup.start_time
            is_late_enough = begin is None or begin <= target
            return is_late_enough and self.until is not None and target <= self.until
        return self.from_lsn <= target <= self.to_lsn

    def __str__(self) -> str:
        if self.to_lsn is None:
            text = f"{self.backup.id}: cannot be restored: {self.reason}"
            return "\n".join(wrapped(text, then="    "))
        last = self.last_commit
        until = f" (last commit {last:%Y-%m-%d %H:%M:%S%z})" if last else ""
        window = f"from {self.from_lsn} to {self.to_lsn}{until}"
        return "\n".join(wrapped(f"{self.backup.id}: {window}, then {self.reason}", then="    "))


@attrs.define
class _Run:
    """The last records of consecutive segments."""

    searched: int
    """The first segment that was read."""
    last: LSN | None = None
    """The last record."""
    end: LSN | None = None
    commit: tuple[LSN, datetime] | None = None
    """The end and the time of the latest commit."""
    damage: str = ""

    def note_commits(self, records: Iterable[WalRecord]) -> None:
        """Remember the latest commit of the records."""
        for record in records:
            at = end_time(record)
            # Commits are not written exactly in the order of their times.
            if at is not None and (self.commit is None or at >= self.commit[1]):
                self.commit = record.end_lsn, at


def windows_of(report: ArchiveReport, backups: Iterable[Backup]) -> Rows[PitrWindow]:
    """Return the window of each backup, in the given order.

    Raises: HostFileError.
    """
    everything = [*backups]
    for backup in everything:
        if not isinstance(backup, Backup):
            raise TypeError(
                "windows() takes backups, such as barman_backups() returns,"
                f" not {type(backup).__name__}"
            )
    finder = _Finder(report, everything)
    return Rows(finder.window(backup) for backup in everything)


class _Finder:
    """Finds the windows of backups; each reuses the parts of the archive that were read before."""

    def __init__(self, report: ArchiveReport, backups: Iterable[Backup]) -> None:
        self._report = report
        self._backups: dict[str | LSN, Backup] = {}
        """By their names and their positions: the bases of others are known by either."""
        for backup in backups:
            self._backups[backup.id] = self._backups[backup.start_lsn] = backup
        self._size = report.segment_size
        self._paths: dict[int, WalPath] = {}
        self._runs: dict[tuple[int, int], _Run] = {}

    def window(self, backup: Backup) -> PitrWindow:
        """Return the window of one backup."""
        if problem := self._problem(backup):
            return self._not_restorable(backup, backup.timeline, problem)
        history = self._history(backup)
        path = self._paths.setdefault(history.timeline, self._report._path(history))
        first = int(backup.start_lsn) // self._size.bytes
        last = first - 1
        # Recovery ends at the first file that is missing, whatever comes after it.
        while last + 1 in path.files:
            last += 1
        # A position on a boundary belongs to the file that ends there.
        needed = int(backup.stop_lsn or backup.start_lsn) - 1
        if last * self._size.bytes + self._size.bytes <= needed:
            name = self._name(history, last + 1)
            until = f"{name} is missing or cannot be used, and the backup needs WAL up to"
            return self._not_restorable(backup, history.timeline, f"{until} {backup.stop_lsn}")
        run = self._run(path, first, last)
        stop = backup.stop_lsn or backup.start_lsn
        if run.last is None or run.end is None or run.end < stop:
            why = run.damage or f"the WAL ends at {run.end}, and the backup needs it up to {stop}"
            return self._not_restorable(backup, history.timeline, why)
        ended_by, reason = WindowEnd.END, "the archive ends"
        if run.damage:
            ended_by, reason = WindowEnd.DAMAGE, run.damage
        elif path.has_later(last):
            ended_by = WindowEnd.GAP
            reason = f"{self._name(history, last + 1)} is missing or cannot be used"
        # Recovery stops at a time only before a commit with a later time; from 13 on, it fails if
        # there is none. So the last time that it can reach is just before the last commit.
        at = run.commit[1] if run.commit is not None and run.commit[0] > stop else None
        return PitrWindow(
            backup=backup,
            timeline=history.timeline,
            # Recovery stops after a record that begins at the target or later. If none begins after
            # the backup, the last one completes it.
            from_lsn=min(run.last, stop),
            to_lsn=run.last,
            until=None if at is None else at - timedelta(microseconds=1),
            last_commit=at,
            ended_by=ended_by,
            reason=reason,
        )

    def _problem(self, backup: Backup) -> str:
        """Return the problem of the backup itself; empty if it has none."""
        if backup.stop_lsn is None and backup.status is BackupStatus.DONE:
            return "the position at which the backup is consistent is not known (no stop_lsn)"
        if not backup.is_complete:
            return f"the backup is not complete (status {backup.status})"
        base, seen = backup, {backup.id}
        # The base of an incremental backup may be incremental too: all of them are needed.
        while (name := base.parent or base.parent_lsn) is not None:
            found = self._backups.get(name)
            if found is None:
                what = name if base.parent else f"that starts at {name}"
                return f"the backup {what}, on which it is based, is missing"
            base = found
            if base.id in seen:
                break
            seen.add(base.id)
            if not base.is_complete:
                return (
                    f"the backup {base.id}, on which it is based, is not complete"
                    f" (status {base.status})"
                )
        if backup.system_id not in (None, self._report.system_id):
            return f"the backup is of system {backup.system_id}"
        if backup.major not in (None, self._report.major):
            return f"the backup is of version {backup.major}"
        return ""

    def _not_restorable(self, backup: Backup, timeline: int, reason: str) -> PitrWindow:
        return PitrWindow(
            backup=backup,
            timeline=timeline,
            from_lsn=None,
            to_lsn=None,
            until=None,
            last_commit=None,
            ended_by=WindowEnd.NOT_RESTORABLE,
            reason=reason,
        )

    def _history(self, backup: Backup) -> TimelineHistory:
        """Return the newest history that contains the backup: recovery_target_timeline latest."""
        end = backup.stop_lsn or backup.start_lsn
        for history in reversed(self._report.histories):
            if history.can_follow(backup.timeline, end):
                return history
        return TimelineHistory(backup.timeline)

    def _name(self, history: TimelineHistory, number: int) -> WalFileName:
        size = self._size.bytes
        begun = [s.timeline for s in history.sections if int(s.start) // size <= number]
        return WalFileName(begun[-1], number, self._size)

    def _run(self, path: WalPath, first: int, last: int) -> _Run:
        """Return the last records of segments, and the latest commit.

        Only the last segments are read, back to one with a commit.
        """
        key = path.history.timeline, last
        run = self._runs.setdefault(key, _Run(last + 1))
        # An idle server may have written many segments without a commit.
        while run.searched > first and run.commit is None:
            run.searched -= 1
            self._read(path, run, last)
        return run

    def _read(self, path: WalPath, run: _Run, last: int) -> None:
        """Read segments from ``run.searched`` on."""
        files = {number: path.files[number] for number in range(run.searched, last + 1)}
        reader = WalReader(
            WalPath(path.place, path.header, path.history, files),
            start=None,
            stop_at=None,
            strict=False,
            verify_crc=False,
        )
        found = last_kind = None
        try:
            for records in reader.batches():
                run.last = records[-1].lsn
                last_kind = records[-1].manager, records[-1].info & 0xF0
                run.note_commits(records)
        except InvalidWal as error:
            found = error.found
        run.end = reader.end_lsn
        # Nothing is missing behind a switch: Barman counts a backup up to the end of its segment.
        if run.last is not None and last_kind == (XLOG, SWITCH):
            number = int(run.last) // self._size.bytes
            run.end = range_of(number, number, self._size).end
        if found is None and reader.ended_by is WalEnd.DAMAGE:
            found = reader.end_reason
        if found is not None:
            run.damage = f"the WAL is damaged after {reader.end_lsn}: {found}"
