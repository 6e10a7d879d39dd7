"""WalRetention: who keeps how much WAL, and for how long that goes well."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from pgreplkit.catalog.server.retention import ArchiverStatus
from pgreplkit.catalog.server.senders import WalSender
from pgreplkit.catalog.server.slot import SlotState
from pgreplkit.values.finding import Finding, Severity, worst_of
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.plain import Plain, plain_row
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.walfile import WalFileName


class HolderKind(OpenEnum):
    """What keeps WAL."""

    SLOT = "slot"
    WALSENDER = "walsender"
    """A receiver without a slot. The server keeps nothing for it: what it needs may go."""
    WAL_KEEP = "wal_keep"
    """wal_keep_size, before 13 wal_keep_segments."""
    ARCHIVER = "archiver"
    """Files that are not archived yet."""
    CHECKPOINT = "checkpoint"
    """What recovery after a crash would need."""


@attrs.frozen(kw_only=True)
class WalHolder:
    """Something that keeps WAL, or needs it."""

    _also_plain = ("is_binding",)

    kind: HolderKind
    name: str
    oldest_lsn: LSN | None
    """The oldest WAL that it keeps; None when it keeps none."""
    oldest_file: WalFileName | None
    bytes: int
    """From there to the server's position."""
    files: int
    freed_bytes: int
    """What the next checkpoint would remove or use again, if this alone did not keep it: whole
    files, and 0 when something else keeps them too."""
    time_left: timedelta | None = None
    """Until a slot that stands still loses WAL, at the rate that was measured."""
    slot: SlotState | None = None
    sender: WalSender | None = None

    @property
    def is_binding(self) -> bool:
        """Whether the server keeps the WAL for it."""
        return self.kind is not HolderKind.WALSENDER


@attrs.frozen(kw_only=True)
class WalRetention:
    """Who keeps how much WAL, and for how long that goes well.

    Source: pg_replication_slots, pg_stat_replication, pg_stat_archiver, pg_ls_waldir(),
    pg_ls_archive_statusdir(), pg_control_checkpoint() and pg_settings.
    """

    _also_plain = ("severity", "time_left")

    observed_at: datetime
    current_lsn: LSN
    segment_size: SegmentSize
    directory_bytes: int
    """What all files in pg_wal take."""
    max_slot_wal_keep_size: int | None
    """In bytes; None without a limit, and before 13."""
    disk_size: int | None
    """What the caller said that pg_wal may take, in bytes."""
    wal_rate: float | None
    """Bytes a second over the window that the caller gave."""
    archiver: ArchiverStatus
    ready_count: int | None
    """How many files wait to be archived; None when the role may not see it, before 12."""
    holders: tuple[WalHolder, ...]
    """Those that keep the oldest WAL first."""
    findings: tuple[Finding, ...] = ()

    @property
    def worst(self) -> WalHolder | None:
        """Who keeps the oldest WAL beyond what recovery after a crash needs anyway.

        None when nobody does.
        """
        keepers = [h for h in self.holders if h.is_binding and h.kind is not HolderKind.CHECKPOINT]
        return next((holder for holder in keepers if holder.oldest_lsn is not None), None)

    @property
    def severity(self) -> Severity:
        """That of the worst finding."""
        return worst_of(self.findings)

    @property
    def time_left(self) -> timedelta | None:
        """Until ``disk_size`` is reached if nothing is removed; None without it or without a rate.

        A slot's own time until max_slot_wal_keep_size is with its holder.
        """
        if self.disk_size is None:
            return None
        return lasting(self.disk_size - self.directory_bytes, self.wal_rate)

    def to_dict(self) -> dict[str, Plain]:
        """All of it as JSON knows it: LSNs as text, sizes in bytes, durations in seconds."""
        return plain_row(self)


def lasting(size: int, rate: float | None) -> timedelta | None:
    """How long that many bytes last; None when it is not known, or for ever."""
    if not rate:
        return None
    try:
        return timedelta(seconds=max(0.0, size / rate))
    except OverflowError:
        return None
