"""Subscriptions: their options, their status, and leftovers of dropped ones."""

from collections.abc import Iterable, Iterator

import attrs

from pgreplkit._text import counted
from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical.subscription import (
    SubscribedTable,
    SubscriptionState,
    SubscriptionStats,
    SubscriptionWorker,
    TableState,
    WorkerType,
)
from pgreplkit.catalog.server.slot import SlotState, WalStatus
from pgreplkit.values.flags import optional_flags
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.text import size_text, wrapped


@attrs.frozen(kw_only=True)
class SubscriptionOptions(Record):
    """The options of a subscription; None leaves an option to the server's default.

    An option that the server's major version lacks is refused before anything is sent.
    """

    copy_data: bool | None = None
    """Whether existing rows are copied first. Only for a new subscription."""
    create_slot: bool | None = None
    """Whether the slot is created on the publisher. Only for a new subscription."""
    enabled: bool | None = None
    """Whether the subscription starts at once. Only for a new one."""
    connect: bool | None = None
    """Whether the server connects to the publisher; if not, nothing is copied. Only for a new
    subscription."""
    slot_name: str | None = None
    """The slot on the publisher; by default it has the subscription's name."""
    synchronous_commit: str | None = None
    """synchronous_commit of its workers; ``off``, the server's default, loses no data."""
    binary: bool | None = None
    """Whether values are sent in binary (14 on): faster, but only between equal types."""
    streaming: str | None = None
    """Whether transactions are sent before they commit: "off", "on" (14 on), "parallel" (16 on)."""
    two_phase: bool | None = None
    """Whether transactions are sent when they are prepared (15 on; altered from 18 on)."""
    disable_on_error: bool | None = None
    """Whether an error disables it; otherwise it retries every few seconds (15 on)."""
    password_required: bool | None = None
    """Whether an owner who is not a superuser has to connect with a password (16 on)."""
    run_as_owner: bool | None = None
    """Whether changes are applied as its owner, not as each table's owner (16 on)."""
    origin: str | None = None
    """Origins of the changes: "none" excludes changes that the publisher itself received by
    replication; "any" includes all (16 on)."""
    failover: bool | None = None
    """Whether the publisher's standbys synchronize its slot (17 on)."""
    retain_dead_tuples: bool | None = None
    """Whether deleted rows are retained, to detect update_deleted conflicts (19 on)."""
    max_retention_duration: int | None = None
    """The limit of that retention in milliseconds (19 on)."""
    wal_receiver_timeout: str | None = None
    """wal_receiver_timeout of its workers, with a unit as in the configuration file (19 on)."""

    def __attrs_post_init__(self) -> None:
        fields = attrs.fields(type(self))
        # By their types, so that no option can be forgotten here.
        flags = (field.name for field in fields if field.type == bool | None)
        optional_flags(**{name: getattr(self, name) for name in flags})

    def given(self) -> Iterator[tuple[str, str, str]]:
        """Yield each option that is set: its name, its text, and the feature that it needs."""
        for field in attrs.fields(type(self)):
            value = getattr(self, field.name)
            if value is not None:
                text = str(value).lower() if isinstance(value, bool) else str(value)
                parallel = (field.name, text) == ("streaming", "parallel")
                # One value of an option is newer than the option.
                feature = "parallel" if parallel else field.name
                yield field.name, text, f"subscription.{feature}"


ONLY_WHEN_CREATED = {"copy_data", "create_slot", "enabled", "connect"}
"""Options of CREATE SUBSCRIPTION that cannot be altered."""


_SHOWN = 5
"""Tables that the text of a status names: a database may have thousands."""
_STATES = {
    TableState.INIT: "not started",
    TableState.DATA_COPY: "being copied",
    TableState.FINISHED_COPY: "copied",
    TableState.SYNCED: "caught up",
}


@attrs.frozen(kw_only=True)
class SubscriptionStatus(Record):
    """The state, workers, tables and counters of a subscription at one time."""

    _first = (
        *("state_subname", "state_subenabled", "is_applying", "is_synced", "received_lsn"),
        *("lag_bytes", "stats_apply_error_count", "stats_sync_error_count"),
    )

    state: SubscriptionState
    workers: tuple[SubscriptionWorker, ...]
    tables: tuple[SubscribedTable, ...]
    stats: SubscriptionStats | None
    """None before 15."""
    slot: SlotState | None = None
    """Its slot, if the publisher was asked; None if that has none: ``diagnose`` says so."""

    @property
    def is_applying(self) -> bool:
        """Whether the apply worker is running."""
        return any(worker.worker_type is WorkerType.APPLY for worker in self.workers)

    @property
    def ready_tables(self) -> tuple[SubscribedTable, ...]:
        """The tables that are copied, and that the apply worker maintains."""
        return tuple(table for table in self.tables if table.state is TableState.READY)

    @property
    def is_synced(self) -> bool:
        """Whether the subscription has tables, and all of them are ready."""
        # Without tables nothing was copied, which is not a success.
        return bool(self.tables) and len(self.ready_tables) == len(self.tables)

    @property
    def received_lsn(self) -> LSN | None:
        """The position that the apply worker has received; None before, or if it is not running."""
        for worker in self.workers:
            if worker.worker_type is WorkerType.APPLY:
                return worker.received_lsn
        return None

    @property
    def lag_bytes(self) -> int | None:
        """The publisher's WAL that the subscriber has not confirmed; None if it was not asked."""
        if self.slot is None or self.slot.confirmed_flush_lsn is None:
            return None
        # The two are read one after the other: a slot may confirm what was written in between.
        return max(0, self.slot.current_lsn - self.slot.confirmed_flush_lsn)

    def _slot_parts(self) -> Iterator[str]:
        """Yield the texts about a slot that is lost, or will be."""
        if (slot := self.slot) is None:
            return
        if slot.is_lost:
            yield f"slot lost ({slot.invalidation_reason or slot.wal_status or 'conflicting'})"
        elif slot.wal_status is WalStatus.UNRESERVED:
            yield "slot lost at the next checkpoint"
        elif slot.wal_status is WalStatus.EXTENDED and slot.safe_wal_size is not None:
            yield f"slot lost after {size_text(slot.safe_wal_size)} more of WAL"

    def __str__(self) -> str:
        """Return its state in one line, and the first tables that are not ready."""
        ready, stats = len(self.ready_tables), self.stats
        parts = [
            "enabled" if self.state.subenabled else "disabled",
            "applying" if self.is_applying else "not applying",
            f"{ready} of {counted(len(self.tables), 'table')} ready",
        ]
        if self.lag_bytes is not None:
            parts.append(f"lag {size_text(self.lag_bytes)}")
        parts += self._slot_parts()
        if stats is not None and (errors := stats.apply_error_count + stats.sync_error_count):
            parts.append(counted(errors, "error"))
        lines = wrapped(f"{self.state.subname}: {', '.join(parts)}", then="  ")
        waiting = [one for one in self.tables if one.state is not TableState.READY]
        for one in waiting[:_SHOWN]:
            copied = "" if one.bytes_processed is None else f", {size_text(one.bytes_processed)}"
            state = _STATES.get(one.state, str(one.state))
            lines += wrapped(f"{one.table}: {state}{copied}", first="  ")
        if len(waiting) > _SHOWN:
            lines.append(f"  … and {counted(len(waiting) - _SHOWN, 'more table')}")
        return "\n".join(lines)


class LeftoverKind(OpenEnum):
    """The kind of an object that a dropped subscription may leave behind."""

    SLOT = "slot"
    """Its slot on the publisher, which retains WAL until it is dropped."""
    SYNC_SLOT = "sync slot"
    """The slot of a table that was being copied (14 on)."""
    ORIGIN = "origin"
    """Its replication origin on the subscriber."""


@attrs.frozen(kw_only=True)
class Leftover(Record):
    """An object that may be left behind on a server, with the SQL that removes it."""

    kind: LeftoverKind
    name: str
    where: str
    """The server that has it."""
    sql: str


@attrs.frozen(kw_only=True)
class DroppedSubscription(Record):
    """A subscription that was dropped."""

    name: str
    leftovers: tuple[Leftover, ...] = ()
    """Objects that may remain on the publisher."""
    slot_was_missing: bool = False
    """Whether the publisher no longer had its slot."""


def slot_leftover(name: str, where: str, kind: LeftoverKind = LeftoverKind.SLOT) -> Leftover:
    """Return the leftover for a slot. A slot's name has only characters that need no quoting."""
    sql = f"SELECT pg_drop_replication_slot('{name}')"
    return Leftover(kind=kind, name=name, where=where, sql=sql)


def leftovers(
    oid: int,
    slot: str | None,
    tables: Iterable[SubscribedTable],
    *,
    system_id: int,
    major: int,
    where: str,
) -> tuple[Leftover, ...]:
    """Return the slots that a subscription may have on its publisher."""
    left = [slot_leftover(slot, where)] if slot else []
    # Before 14 the slots of copies are temporary.
    for table in tables if has("subscription.copy_slots", major) else ():
        if table.state in {TableState.INIT, TableState.DATA_COPY, TableState.FINISHED_COPY}:
            name = f"pg_{oid}_sync_{table.relid}_{system_id}"
            left.append(slot_leftover(name, where, LeftoverKind.SYNC_SLOT))
    return tuple(left)
