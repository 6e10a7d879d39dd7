"""wal_retention: who keeps WAL, worked out from what a server says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import attrs

from pgreplkit.catalog.server.retention import ArchiverStatus, KeptWal
from pgreplkit.catalog.server.senders import WalSender
from pgreplkit.catalog.server.slot import SlotState
from pgreplkit.plans.server.retention import HolderKind, WalHolder, WalRetention, lasting
from pgreplkit.plans.server.retentionfindings import findings_of
from pgreplkit.values.lsn import LSN
from pgreplkit.values.walfile import WalFileName


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
    """The report on facts that were read at one time.

    ``ready`` are the names of the files that wait to be archived, oldest first.
    """
    workshop = _Workshop(kept, wal_rate)
    holders = [
        *map(workshop.slot, slots),
        *(workshop.sender(sender) for sender in senders if not _has_slot(sender, slots)),
        workshop.wal_keep(),
        workshop.archiver(archiver, ready),
        workshop.checkpoint(),
    ]
    report = WalRetention(
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
    return attrs.evolve(report, findings=tuple(findings_of(report, kept.freeze_max_age)))


def _has_slot(sender: WalSender, slots: Sequence[SlotState]) -> bool:
    return any(slot.active_pid == sender.pid for slot in slots)


def _oldest_first(holder: WalHolder) -> tuple[bool, int]:
    lsn = holder.oldest_lsn
    return (lsn is None, 0 if lsn is None else int(lsn))


def _with_freed(holders: Sequence[WalHolder], kept: KeptWal) -> Iterator[WalHolder]:
    """Each with what the next checkpoint removes when it alone keeps nothing any more."""
    size = kept.segment_size.bytes
    # A checkpoint makes the WAL before it superfluous; until 10, that before the one before it.
    needed = kept.redo_lsn if kept.server_major < 11 else kept.current_lsn
    firsts = [
        (holder, int(holder.oldest_lsn) // size)
        for holder in holders
        if holder.is_binding
        and holder.kind is not HolderKind.CHECKPOINT
        and holder.oldest_lsn is not None
    ]
    for holder in holders:
        own = [first for other, first in firsts if other is holder]
        others = [first for other, first in firsts if other is not holder]
        freed = min([*others, int(needed) // size]) - own[0] if own else 0
        yield attrs.evolve(holder, freed_bytes=max(0, freed) * size)


class _Workshop:
    """Makes the holders of one server."""

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
            time_left=None if safe is None else lasting(safe, self.wal_rate),
        )

    def sender(self, sender: WalSender) -> WalHolder:
        # A base backup and a receiver that has just begun tell no position but what was sent.
        oldest = sender.flush_lsn or sender.sent_lsn
        name = f"{sender.application_name} (process {sender.pid})"
        return self._holder(HolderKind.WALSENDER, name, oldest, sender=sender)

    def wal_keep(self) -> WalHolder:
        kept, size = self.kept, self.kept.segment_size.bytes
        oldest = None
        if kept.wal_keep_bytes:
            first = int(kept.current_lsn) // size - kept.wal_keep_bytes // size
            oldest = LSN(max(first, self._oldest_there()) * size)
        return self._holder(HolderKind.WAL_KEEP, "wal_keep", oldest)

    def archiver(self, archiver: ArchiverStatus, ready: Sequence[str] | None) -> WalHolder:
        oldest = None
        if ready and archiver.archive_mode != "off":
            name = WalFileName.parse(ready[0], segment_size=self.kept.segment_size)
            oldest = name.first_lsn
        return self._holder(HolderKind.ARCHIVER, "archiver", oldest)

    def checkpoint(self) -> WalHolder:
        return self._holder(HolderKind.CHECKPOINT, "last checkpoint", self.kept.redo_lsn)

    def _oldest_there(self) -> int:
        if self.kept.oldest_segment is None:
            return 0
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
