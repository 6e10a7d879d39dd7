"""WalRetention: the WAL retained by each holder, and the time left until the limit."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import attrs

from pgreplkit.catalog.server.retention import ArchiverStatus, KeptWal
from pgreplkit.catalog.server.senders import WalSender
from pgreplkit.catalog.server.slot import SlotState
from pgreplkit.values.finding import (
    Finding,
    Severity,
    finding_lines,
    problems_among,
    worst_first,
    worst_of,
)
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.text import duration_text, size_text, table_text, wrapped
from pgreplkit.values.walfile import WalFileName
from pgreplkit.values.walnames import PartialWalFileName, parse_wal_name


class HolderKind(OpenEnum):
    """The kind of a WAL holder."""

    SLOT = "slot"
    WALSENDER = "walsender"
    """A receiver without a slot. The server retains nothing for it: its WAL may be removed."""
    WAL_KEEP = "wal_keep"
    """wal_keep_size, before 13 wal_keep_segments."""
    ARCHIVER = "archiver"
    """Files that are not archived yet."""
    CHECKPOINT = "checkpoint"
    """The WAL that crash recovery would need."""


@attrs.frozen(kw_only=True)
class WalHolder(Record):
    """A holder of WAL, or a receiver that needs it."""

    kind: HolderKind
    name: str
    oldest_lsn: LSN | None
    """The start of the WAL that it holds; None if it holds none."""
    oldest_file: WalFileName | None
    bytes: int
    """The size from there to the server's position."""
    files: int
    freed_bytes: int
    """Bytes that the next checkpoint would remove or recycle without this holder: whole files, and
    0 if another holder retains them too."""
    time_left: timedelta | None = None
    """The time until an unmoved slot loses WAL, at the measured rate."""
    slot: SlotState | None = None
    sender: WalSender | None = None

    @property
    def is_binding(self) -> bool:
        """Whether the server retains the WAL for it."""
        return self.kind is not HolderKind.WALSENDER


@attrs.frozen(kw_only=True)
class WalRetention(Record):
    """The WAL retained by each holder, and the time left until the limit.

    Source: pg_replication_slots, pg_stat_replication, pg_stat_archiver, pg_ls_waldir(),
    pg_ls_archive_statusdir(), pg_control_checkpoint() and pg_settings.
    """

    _left_out = ("worst", "summary", "problems")

    observed_at: datetime
    current_lsn: LSN
    segment_size: SegmentSize
    directory_bytes: int
    """The size of all files in pg_wal."""
    max_slot_wal_keep_size: int | None
    """In bytes; None without a limit, and before 13."""
    disk_size: int | None
    """The size that pg_wal may reach, as given by the caller, in bytes."""
    wal_rate: float | None
    """Bytes per second, measured over the caller's window."""
    archiver: ArchiverStatus
    ready_count: int | None
    """The number of files that wait to be archived; None if hidden from the role, before 12."""
    holders: tuple[WalHolder, ...]
    """The holders, those of the oldest WAL first."""
    findings: tuple[Finding, ...] = ()

    @property
    def worst(self) -> WalHolder | None:
        """The holder of the oldest WAL, apart from crash recovery; None if there is none."""
        keepers = [h for h in self.holders if h.is_binding and h.kind is not HolderKind.CHECKPOINT]
        return next((holder for holder in keepers if holder.oldest_lsn is not None), None)

    @property
    def severity(self) -> Severity:
        """The severity of the worst finding."""
        return worst_of(self.findings)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The warnings and critical findings, worst first."""
        return problems_among(self.findings)

    @property
    def time_left(self) -> timedelta | None:
        """The time until ``disk_size`` is reached, if nothing is removed; None without a rate.

        The time until a slot reaches max_slot_wal_keep_size is in its holder.
        """
        if self.disk_size is None:
            return None
        return lasting(self.disk_size - self.directory_bytes, self.wal_rate)

    @property
    def summary(self) -> str:
        """The size of pg_wal, and its limits, in one line."""
        parts = [f"pg_wal has {size_text(self.directory_bytes)}"]
        if self.disk_size is not None:
            parts.append(f"of {size_text(self.disk_size)}")
        if self.wal_rate is not None:
            parts.append(f"and grows by {size_text(self.wal_rate)}/s")
        text = " ".join(parts)
        if self.time_left is not None:
            text += f"; {duration_text(self.time_left)} left"
        if self.max_slot_wal_keep_size is not None:
            text += f"; slots retain at most {size_text(self.max_slot_wal_keep_size)}"
        return text

    def __iter__(self) -> Iterator[WalHolder]:
        return iter(self.holders)

    def __len__(self) -> int:
        return len(self.holders)

    def __str__(self) -> str:
        rows = [
            {
                "holder": f"{holder.kind} {holder.name}",
                "oldest": holder.oldest_lsn,
                "retained": size_text(holder.bytes),
                "alone": size_text(holder.freed_bytes),
                "time left": holder.time_left,
            }
            for holder in self.holders
        ]
        problems = [finding for finding in self.findings if finding.severity > Severity.OK]
        lines = [*wrapped(self.summary), *table_text(rows), *finding_lines(worst_first(problems))]
        return "\n".join(lines)


def lasting(size: int, rate: float | None) -> timedelta | None:
    """Return the time in which ``size`` bytes are written; None if unknown or unlimited."""
    if not rate:
        return None
    try:
        return timedelta(seconds=max(0.0, size / rate))
    except OverflowError:
        return None


def wal_retention(
    kept: KeptWal,
    *,
    slots: Sequence[SlotState],
    senders: Sequence[WalSender],
    archiver: ArchiverStatus,
    ready: Sequence[str] | None,
    wal_rate: float | None = None,
    disk_size: int | None = None,
) -> WalRetention:
    """Return the report for facts that were read at the same time, without findings.

    ``ready`` are the names of the files that wait to be archived, oldest first.
    """
    # The slot of a receiver retains its WAL, so that such a receiver is not a holder of its own.
    found = _Holders(kept, wal_rate)
    holders = [
        *map(found.slot, slots),
        *(found.sender(sender) for sender in senders if not _has_slot(sender, slots)),
        found.wal_keep(),
        found.archiver(archiver, ready),
        found.checkpoint(),
    ]
    return WalRetention(
        observed_at=kept.observed_at,
        current_lsn=kept.current_lsn,
        segment_size=kept.segment_size,
        directory_bytes=kept.directory_bytes,
        max_slot_wal_keep_size=kept.max_slot_wal_keep_size,
        disk_size=disk_size,
        wal_rate=wal_rate,
        archiver=archiver,
        ready_count=None if ready is None else len(ready),
        holders=tuple(sorted(_with_freed(holders, kept), key=_oldest_first)),
    )


def _has_slot(sender: WalSender, slots: Sequence[SlotState]) -> bool:
    return any(slot.active_pid == sender.pid for slot in slots)


def _oldest_first(holder: WalHolder) -> tuple[bool, int]:
    lsn = holder.oldest_lsn
    return (lsn is None, 0 if lsn is None else int(lsn))


def _with_freed(holders: Sequence[WalHolder], kept: KeptWal) -> Iterator[WalHolder]:
    """Return each holder with the bytes that only this one retains."""
    size = kept.segment_size.bytes
    # WAL before the last checkpoint is superfluous; until 10, before the second-last one.
    needed = kept.redo_lsn if kept.server_major < 11 else kept.current_lsn
    firsts = [
        (holder, int(holder.oldest_lsn) // size)
        for holder in holders
        if holder.is_binding
        and holder.kind is not HolderKind.CHECKPOINT
        and holder.oldest_lsn is not None
    ]
    # The checkpoint removes files only up to the oldest one that any other holder needs.
    for holder in holders:
        own = [first for other, first in firsts if other is holder]
        others = [first for other, first in firsts if other is not holder]
        freed = min([*others, int(needed) // size]) - own[0] if own else 0
        yield attrs.evolve(holder, freed_bytes=max(0, freed) * size)


class _Holders:
    """Builds the holders of one server."""

    def __init__(self, kept: KeptWal, wal_rate: float | None) -> None:
        self.kept, self.wal_rate = kept, wal_rate

    def slot(self, slot: SlotState) -> WalHolder:
        oldest = slot.retained.start if slot.retained else None
        safe = slot.safe_wal_size
        return self._holder(
            HolderKind.SLOT,
            slot.slot_name,
            oldest,
            slot=slot,
            # The server computes the room until max_slot_wal_keep_size (13 on).
            time_left=None if safe is None else lasting(safe, self.wal_rate),
        )

    def sender(self, sender: WalSender) -> WalHolder:
        # A base backup, and a receiver that has just started, report only the sent position.
        oldest = sender.flush_lsn or sender.sent_lsn
        name = f"{sender.application_name} (process {sender.pid})"
        return self._holder(HolderKind.WALSENDER, name, oldest, sender=sender)

    def wal_keep(self) -> WalHolder:
        kept, size = self.kept, self.kept.segment_size.bytes
        oldest = None
        # The server counts whole segments back from the current one; they need not exist yet.
        if kept.wal_keep_bytes:
            first = int(kept.current_lsn) // size - kept.wal_keep_bytes // size
            # Segments that were removed before the setting was raised do not come back.
            oldest = LSN(max(first, self._oldest_there()) * size)
        return self._holder(HolderKind.WAL_KEEP, "wal_keep", oldest)

    def archiver(self, archiver: ArchiverStatus, ready: Sequence[str] | None) -> WalHolder:
        oldest = None
        names = [parse_wal_name(name, segment_size=self.kept.segment_size) for name in ready or ()]
        segments = [
            name.wal_file if isinstance(name, PartialWalFileName) else name
            for name in names
            if isinstance(name, WalFileName | PartialWalFileName)
        ]
        # Segments are archived in order, so the first one retains all later ones.
        if segments and archiver.archive_mode != "off":
            oldest = min(name.first_lsn for name in segments)
        return self._holder(HolderKind.ARCHIVER, "archiver", oldest)

    def checkpoint(self) -> WalHolder:
        # Crash recovery would begin at the redo position, not at the checkpoint's own record.
        return self._holder(HolderKind.CHECKPOINT, "last checkpoint", self.kept.redo_lsn)

    def _oldest_there(self) -> int:
        if self.kept.oldest_segment is None:
            return 0
        # Only the number matters here, so any timeline makes a complete name.
        name = f"{self.kept.timeline:08X}{self.kept.oldest_segment}"
        return WalFileName.parse(name, segment_size=self.kept.segment_size).number

    def _holder(
        self,
        kind: HolderKind,
        name: str,
        oldest: LSN | None,
        *,
        slot: SlotState | None = None,
        sender: WalSender | None = None,
        time_left: timedelta | None = None,
    ) -> WalHolder:
        kept, size = self.kept, self.kept.segment_size
        held = 0 if oldest is None else max(0, kept.current_lsn - oldest)
        files = 0
        # The current position may be the start of a file that has no byte yet.
        if oldest is not None and held:
            files = (int(kept.current_lsn) - 1) // size.bytes - int(oldest) // size.bytes + 1
        file = None
        if oldest is not None:
            file = oldest.wal_file(timeline=kept.timeline, segment_size=size)
        return WalHolder(
            kind=kind,
            name=name,
            oldest_lsn=oldest,
            oldest_file=file,
            bytes=held,
            files=files,
            freed_bytes=0,
            time_left=time_left,
            slot=slot,
            sender=sender,
        )
