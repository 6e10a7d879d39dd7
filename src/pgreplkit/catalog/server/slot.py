"""SlotState: one line of pg_replication_slots, and how much WAL the slot keeps."""

from __future__ import annotations

from datetime import datetime

import attrs

from pgreplkit.catalog.view import View, lives, sized
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.walrange import WalRange


class SlotType(OpenEnum):
    """What is streamed from a slot."""

    PHYSICAL = "physical"
    LOGICAL = "logical"


class WalStatus(OpenEnum):
    """Whether the WAL that a slot needs is there, and how safe it is (13 on)."""

    RESERVED = "reserved"
    """It is within max_wal_size."""
    EXTENDED = "extended"
    """It is more than max_wal_size; the slot, or wal_keep_size, keeps it."""
    UNRESERVED = "unreserved"
    """It is more than max_slot_wal_keep_size: the next checkpoint removes it."""
    LOST = "lost"
    """It is gone, or the slot was invalidated: the slot is of no use any more."""


class InvalidationReason(OpenEnum):
    """Why the server invalidated a slot (17 on)."""

    WAL_REMOVED = "wal_removed"
    """It fell further behind than max_slot_wal_keep_size allows."""
    ROWS_REMOVED = "rows_removed"
    """Rows of the catalogs that decoding needs were removed, on a standby by its primary."""
    WAL_LEVEL_INSUFFICIENT = "wal_level_insufficient"
    """The primary's wal_level is not logical any more."""
    IDLE_TIMEOUT = "idle_timeout"
    """It was not used for idle_replication_slot_timeout (18 on)."""


@attrs.frozen(kw_only=True)
class SlotState:
    """A slot as it was at ``observed_at``. A column that the server's major lacks is None.

    Source: pg_replication_slots, and the server's position in the same statement.
    """

    slot_name: str
    plugin: str | None
    """The output plugin of a logical slot."""
    slot_type: SlotType = attrs.field(converter=SlotType)
    datoid: int | None
    database: str | None
    """The database of a logical slot."""
    temporary: bool
    """Whether it goes with the session that made it."""
    active: bool
    """Whether a process is using it."""
    active_pid: int | None
    xmin: int | None = attrs.field(metadata=lives(sql="xmin::text::bigint"))
    """The oldest transaction whose rows VACUUM keeps for it."""
    catalog_xmin: int | None = attrs.field(metadata=lives(sql="catalog_xmin::text::bigint"))
    """The same for rows of the system catalogs."""
    restart_lsn: LSN | None
    """WAL is kept from here on; None when it reserves none, or is lost."""
    confirmed_flush_lsn: LSN | None
    """Up to here the client of a logical slot has confirmed."""
    wal_status: WalStatus | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(WalStatus),
        metadata=lives(since=13),
    )
    """None too when it reserves nothing."""
    safe_wal_size: int | None = attrs.field(default=None, metadata=lives(since=13))
    """How many bytes can be written before it may be lost; None without a limit, or when lost."""
    two_phase: bool | None = attrs.field(default=None, metadata=lives(since=14))
    two_phase_at: LSN | None = attrs.field(default=None, metadata=lives(since=18))
    inactive_since: datetime | None = attrs.field(default=None, metadata=lives(since=17))
    """When it was last let go; None while it is used."""
    conflicting: bool | None = attrs.field(default=None, metadata=lives(since=16))
    """Whether a conflict with recovery invalidated it; None for physical slots."""
    invalidation_reason: InvalidationReason | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(InvalidationReason),
        metadata=lives(since=17),
    )
    failover: bool | None = attrs.field(default=None, metadata=lives(since=17))
    """Whether standbys synchronize it, so that it survives a failover."""
    synced: bool | None = attrs.field(default=None, metadata=lives(since=17))
    """Whether a standby synchronized it from its primary."""
    xmin_age: int | None = attrs.field(metadata=lives(sql="age(xmin)"))
    """How many transactions ago ``xmin`` began: what VACUUM cannot remove meanwhile is bloat."""
    catalog_xmin_age: int | None = attrs.field(metadata=lives(sql="age(catalog_xmin)"))
    current_lsn: LSN = attrs.field(
        metadata=lives(
            sql="""CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                ELSE pg_current_wal_lsn() END"""
        )
    )
    """The server's position: what it has written, on a standby what it has replayed."""
    segment_size: SegmentSize = attrs.field(
        converter=sized,
        metadata=lives(sql="(SELECT bytes_per_wal_segment FROM pg_control_init())"),
    )
    observed_at: datetime = attrs.field(metadata=lives(sql="clock_timestamp()"))
    """The server's clock when it answered."""

    @property
    def is_lost(self) -> bool:
        """Whether it was invalidated: nothing can be streamed from it, it can only be dropped."""
        return bool(
            self.wal_status is WalStatus.LOST or self.invalidation_reason or self.conflicting
        )

    @property
    def retained(self) -> WalRange | None:
        """The WAL that it keeps from removal; None when it keeps none."""
        if self.restart_lsn is None or self.is_lost:
            return None
        return WalRange(self.restart_lsn, max(self.restart_lsn, self.current_lsn))

    @property
    def retained_bytes(self) -> int:
        """How many bytes of WAL it keeps from removal, up to ``current_lsn``."""
        return self.retained.size if self.retained else 0

    @property
    def retained_files(self) -> int:
        """How many WAL files hold those bytes; the one that is being written counts too."""
        return self.retained.file_count(self.segment_size) if self.retained else 0

    @property
    def reached_lsn(self) -> LSN | None:
        """Up to where its client has everything: confirmed, or for a physical slot flushed."""
        return self.confirmed_flush_lsn if self.slot_type is SlotType.LOGICAL else self.restart_lsn


SLOTS = View(SlotState, "pg_replication_slots ORDER BY slot_name")
ONE_SLOT = View(SlotState, "pg_replication_slots WHERE slot_name = %s::name")
