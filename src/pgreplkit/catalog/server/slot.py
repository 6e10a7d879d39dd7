"""SlotState: a row of pg_replication_slots; and the SQL that creates, reads and drops slots."""

from datetime import datetime

import attrs

from pgreplkit.catalog.server.expressions import CURRENT_LSN, SEGMENT_BYTES
from pgreplkit.catalog.view import View, column, sized
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum, OrderedEnum
from pgreplkit.values.record import Record
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.walrange import WalRange


class SlotType(OpenEnum):
    """The type of a slot."""

    PHYSICAL = "physical"
    LOGICAL = "logical"


class WalStatus(OrderedEnum):
    """The availability of the WAL that a slot needs, the worst last (13 on)."""

    RESERVED = "reserved"
    """Its WAL is within max_wal_size."""
    EXTENDED = "extended"
    """Its WAL exceeds max_wal_size; the slot, or wal_keep_size, retains it."""
    UNRESERVED = "unreserved"
    """Its WAL exceeds max_slot_wal_keep_size: the next checkpoint removes it."""
    LOST = "lost"
    """Its WAL was removed, or the slot was invalidated: the slot can only be dropped."""


class InvalidationReason(OpenEnum):
    """Why the server invalidated a slot (17 on)."""

    WAL_REMOVED = "wal_removed"
    """The slot retained more WAL than max_slot_wal_keep_size allows."""
    ROWS_REMOVED = "rows_removed"
    """The primary removed catalog rows that decoding on the standby needs."""
    WAL_LEVEL_INSUFFICIENT = "wal_level_insufficient"
    """The primary's wal_level is no longer logical."""
    IDLE_TIMEOUT = "idle_timeout"
    """The slot was unused for idle_replication_slot_timeout (18 on)."""


@attrs.frozen(kw_only=True)
class SlotState(Record):
    """The state of a slot at ``observed_at``. Columns that the server's version lacks are None.

    Source: pg_replication_slots, and the server's position in the same statement.
    """

    _first = (
        *("slot_name", "slot_type", "active", "wal_status", "retained_bytes", "safe_wal_size"),
        *("restart_lsn", "confirmed_flush_lsn", "database", "plugin", "is_lost"),
    )

    slot_name: str
    plugin: str | None
    """The output plugin of a logical slot."""
    slot_type: SlotType = attrs.field(converter=SlotType)
    datoid: int | None
    database: str | None
    """The database of a logical slot."""
    temporary: bool
    """Whether the slot is dropped at the end of the session that created it."""
    active: bool
    """Whether a process is using the slot."""
    active_pid: int | None
    xmin: int | None = attrs.field(metadata=column(sql="xmin::text::bigint"))
    """The oldest transaction whose rows VACUUM retains for the slot."""
    catalog_xmin: int | None = attrs.field(metadata=column(sql="catalog_xmin::text::bigint"))
    """The oldest transaction whose catalog rows VACUUM retains for the slot."""
    restart_lsn: LSN | None
    """The start of the retained WAL; None if the slot reserves none, or is lost."""
    confirmed_flush_lsn: LSN | None
    """The position that the client of a logical slot has confirmed."""
    wal_status: WalStatus | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(WalStatus),
        metadata=column(since=13),
    )
    """None also if the slot reserves no WAL."""
    safe_wal_size: int | None = attrs.field(default=None, metadata=column(since=13))
    """Bytes of WAL that can be written before the slot may be lost; None without a limit."""
    two_phase: bool | None = attrs.field(default=None, metadata=column(since=14))
    two_phase_at: LSN | None = attrs.field(default=None, metadata=column(since=18))
    inactive_since: datetime | None = attrs.field(default=None, metadata=column(since=17))
    """When the slot was last released; None while it is in use."""
    conflicting: bool | None = attrs.field(default=None, metadata=column(since=16))
    """Whether a conflict with recovery invalidated the slot; None for physical slots."""
    invalidation_reason: InvalidationReason | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(InvalidationReason),
        metadata=column(since=17),
    )
    failover: bool | None = attrs.field(default=None, metadata=column(since=17))
    """Whether standbys synchronize the slot, so that it survives a failover."""
    synced: bool | None = attrs.field(default=None, metadata=column(since=17))
    """Whether this standby synchronized the slot from its primary."""
    xmin_age: int | None = attrs.field(metadata=column(sql="age(xmin)"))
    """The age of ``xmin`` in transactions: dead rows newer than it accumulate as bloat."""
    catalog_xmin_age: int | None = attrs.field(metadata=column(sql="age(catalog_xmin)"))
    current_lsn: LSN = attrs.field(metadata=column(sql=CURRENT_LSN))
    """The end of the written WAL; on a standby of the replayed WAL."""
    segment_size: SegmentSize = attrs.field(
        converter=sized,
        metadata=column(sql=SEGMENT_BYTES),
    )
    observed_at: datetime = attrs.field(metadata=column(sql="clock_timestamp()"))
    """The server's clock at the time of this row."""

    @property
    def is_lost(self) -> bool:
        """Whether the slot was invalidated: it cannot be streamed, only dropped."""
        return bool(
            self.wal_status is WalStatus.LOST or self.invalidation_reason or self.conflicting
        )

    @property
    def retained(self) -> WalRange | None:
        """The WAL that the slot retains; None if it retains none."""
        if self.restart_lsn is None or self.is_lost:
            return None
        return WalRange(self.restart_lsn, max(self.restart_lsn, self.current_lsn))

    @property
    def retained_bytes(self) -> int:
        """Bytes of WAL that the slot retains, up to ``current_lsn``."""
        return self.retained.size if self.retained else 0

    @property
    def retained_files(self) -> int:
        """The number of WAL files that contain those bytes, including the current one."""
        return self.retained.file_count(self.segment_size) if self.retained else 0

    @property
    def reached_lsn(self) -> LSN | None:
        """The position up to which the client has all WAL: confirmed, or flushed if physical."""
        return self.confirmed_flush_lsn if self.slot_type is SlotType.LOGICAL else self.restart_lsn


SLOTS = View(SlotState, "pg_replication_slots ORDER BY slot_name")
ONE_SLOT = View(SlotState, "pg_replication_slots WHERE slot_name = %s::name")


CREATE_PHYSICAL = """
    SELECT lsn FROM pg_catalog.pg_create_physical_replication_slot(%s::name, %s::boolean,
        %s::boolean)
"""
DROP = "SELECT pg_catalog.pg_drop_replication_slot(%s::name)"
ADVANCE = "SELECT end_lsn FROM pg_replication_slot_advance(%s::name, %s::pg_lsn)"
COPY_PHYSICAL = "SELECT lsn FROM pg_copy_physical_replication_slot(%s::name, %s::name, %s::boolean)"
COPY_LOGICAL = """
    SELECT lsn FROM pg_copy_logical_replication_slot(
        %s::name, %s::name, %s::boolean, %s::name)
"""
END_PROCESS = """
    SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
    WHERE slot_name = %s::name AND active_pid = %s::int AND active_pid <> pg_backend_pid()
"""
USED_BY = """
    SELECT active_pid AS pid, application_name,
        CASE WHEN backend_start IS NULL THEN 'an address hidden from this role'
            ELSE host(client_addr) END AS client_addr
    FROM pg_replication_slots LEFT JOIN pg_stat_activity ON pid = active_pid
    WHERE slot_name = %s::name
"""
TROUBLE = """
    SELECT slot_type, database, current_database()
        AS here, pg_catalog.to_jsonb(s) ->> 'wal_status'::text AS status,
        pg_catalog.to_jsonb(s) ->> 'invalidation_reason'::text AS reason
    FROM pg_replication_slots AS s WHERE slot_name = %s::name
"""
"""Facts that explain why a slot cannot be streamed; columns that the version lacks are NULL."""
_CREATE_LOGICAL = "SELECT lsn FROM pg_catalog.pg_create_logical_replication_slot({})"


def create_logical(flags: int) -> str:
    """Return the statement that creates a logical slot by name, plugin and that many flags."""
    types = ["name", "name", *["boolean"] * flags]
    return _CREATE_LOGICAL.format(", ".join(f"%s::{kind}" for kind in types))


@attrs.frozen(kw_only=True)
class SlotChange(Record):
    """A change as the output plugin wrote it."""

    _first = ("lsn", "xid", "text")

    lsn: LSN
    xid: int = attrs.field(metadata=column(sql="xid::text::bigint"))
    data: bytes

    @property
    def text(self) -> str:
        """The data as text, for plugins that write text, as test_decoding and wal2json do.

        A byte that is not UTF-8, from a database in another encoding, is escaped.
        """
        return self.data.decode("utf-8", "backslashreplace")


_CHANGES = "{}(%s::name, %s::pg_lsn, %s::int, VARIADIC %s::text[])"
PEEK = View(SlotChange, _CHANGES.format("pg_logical_slot_peek_binary_changes"))
CONSUME = View(SlotChange, _CHANGES.format("pg_logical_slot_get_binary_changes"))
