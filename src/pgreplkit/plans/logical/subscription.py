"""Subscriptions: their options, their status, and what a dropped one leaves elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from pgreplkit.catalog.logical.subscription import (
    SubscribedTable,
    SubscriptionState,
    SubscriptionStats,
    SubscriptionWorker,
    TableState,
    WorkerType,
)
from pgreplkit.catalog.server.slot import SlotState
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.plain import Plain, plain_row


@attrs.frozen(kw_only=True)
class SubscriptionOptions:
    """The options of a subscription; what is None is left to the server's default.

    The majors that lack one are refused before anything is sent.
    """

    copy_data: bool | None = None
    """Whether the rows that are there already are copied first. Only for a new one."""
    create_slot: bool | None = None
    """Whether the slot is made on the publisher. Only for a new one."""
    enabled: bool | None = None
    """Whether it begins at once. Only for a new one."""
    connect: bool | None = None
    """Whether the publisher is asked at all; without, nothing is copied. Only for a new one."""
    slot_name: str | None = None
    """The slot on the publisher; the subscription's name unless told."""
    synchronous_commit: str | None = None
    """Of its workers; ``off`` is the server's default, and loses nothing."""
    binary: bool | None = None
    """Values travel in binary (14 on): faster, and only between the same types."""
    streaming: str | None = None
    """Transactions are sent before they commit: "off", "on" (14 on), "parallel" (16 on)."""
    two_phase: bool | None = None
    """Prepared transactions are sent when they are prepared (15 on; altered from 18 on)."""
    disable_on_error: bool | None = None
    """An error disables it, instead of a new try every few seconds (15 on)."""
    password_required: bool | None = None
    """Its owner, when not a superuser, needs a password to connect (16 on)."""
    run_as_owner: bool | None = None
    """Changes are made as its owner, not as each table's owner (16 on)."""
    origin: str | None = None
    """"none" leaves out what the publisher itself has from elsewhere; "any" (16 on)."""
    failover: bool | None = None
    """Standbys of the publisher keep its slot too (17 on)."""
    retain_dead_tuples: bool | None = None
    """Rows that were deleted are kept for a while, to tell update_deleted (19 on)."""
    max_retention_duration: int | None = None
    """For so many milliseconds at most (19 on)."""
    wal_receiver_timeout: str | None = None
    """How long its workers wait for a word of the publisher, as the server writes it (19 on)."""

    def given(self) -> Iterator[tuple[str, str, str]]:
        """Each option that is given: its name, its text, and the feature that it needs."""
        for field in attrs.fields(type(self)):
            value = getattr(self, field.name)
            if value is not None:
                text = str(value).lower() if isinstance(value, bool) else str(value)
                parallel = (field.name, text) == ("streaming", "parallel")
                feature = "parallel" if parallel else field.name
                yield field.name, text, f"subscription.{feature}"


FIRST_ONLY = {"copy_data", "create_slot", "enabled", "connect"}
"""What counts when a subscription is made, and cannot be altered."""


@attrs.frozen(kw_only=True)
class SubscriptionStatus:
    """All that is to be known of a subscription at once."""

    _also_plain = ("is_synced", "is_applying", "received_lsn", "lag_bytes")

    state: SubscriptionState
    workers: tuple[SubscriptionWorker, ...]
    tables: tuple[SubscribedTable, ...]
    stats: SubscriptionStats | None
    """None before 15."""
    slot: SlotState | None = None
    """Its slot, where the publisher was asked too."""

    @property
    def is_applying(self) -> bool:
        """Whether its apply worker runs."""
        return any(worker.worker_type is WorkerType.APPLY for worker in self.workers)

    @property
    def ready_tables(self) -> tuple[SubscribedTable, ...]:
        """The tables that are copied, and in the hands of the apply worker."""
        return tuple(table for table in self.tables if table.state is TableState.READY)

    @property
    def is_synced(self) -> bool:
        """Whether it has tables, and all of them are ready."""
        return bool(self.tables) and len(self.ready_tables) == len(self.tables)

    @property
    def received_lsn(self) -> LSN | None:
        """How far its apply worker has received; None when it does not run, or has nothing yet."""
        for worker in self.workers:
            if worker.worker_type is WorkerType.APPLY:
                return worker.received_lsn
        return None

    @property
    def lag_bytes(self) -> int | None:
        """The WAL that the publisher wrote and the subscriber has not confirmed; None unasked."""
        if self.slot is None or self.slot.confirmed_flush_lsn is None:
            return None
        return max(0, self.slot.current_lsn - self.slot.confirmed_flush_lsn)

    def to_dict(self) -> dict[str, Plain]:
        """All of it as JSON knows it."""
        return plain_row(self)


class LeftoverKind(OpenEnum):
    """What may stay of a subscription that is gone."""

    SLOT = "slot"
    """Its slot on the publisher, which keeps WAL for ever."""
    SYNC_SLOT = "sync slot"
    """The slot of a table that was being copied (14 on)."""
    ORIGIN = "origin"
    """The mark of how far it had come, on the subscriber."""


@attrs.frozen(kw_only=True)
class Leftover:
    """What may be left behind on a server, and the SQL that removes it there."""

    kind: LeftoverKind
    name: str
    where: str
    """The server that has it."""
    sql: str


@attrs.frozen(kw_only=True)
class DroppedSubscription:
    """A subscription that was dropped."""

    name: str
    leftovers: tuple[Leftover, ...] = ()
    """What may be left of it on the publisher."""
    slot_was_missing: bool = False
    """Whether the publisher had lost its slot before."""


def slot_leftover(name: str, where: str, kind: LeftoverKind = LeftoverKind.SLOT) -> Leftover:
    """A slot, and how it is dropped. Its name needs no quoting: it is of letters and digits."""
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
    """The slots that a subscription may have on its publisher."""
    left = [slot_leftover(slot, where)] if slot else []
    # Before 14 the slots of copies are temporary.
    for table in tables if major >= 14 else ():
        if table.state in {TableState.INIT, TableState.DATA_COPY, TableState.FINISHED_COPY}:
            name = f"pg_{oid}_sync_{table.relid}_{system_id}"
            left.append(slot_leftover(name, where, LeftoverKind.SYNC_SLOT))
    return tuple(left)
