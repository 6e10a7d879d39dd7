"""Stuck: why a subscription does not move, as far as both servers tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from pgreplkit.catalog.logical.stuck import OldTransaction, WorkerPool
from pgreplkit.catalog.logical.subscription import (
    SubscribedTable,
    SubscriptionState,
    SubscriptionStats,
    SubscriptionWorker,
    TableState,
    WorkerType,
)
from pgreplkit.catalog.server.slot import SlotState
from pgreplkit.errors import WaitTimeout
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.tablename import TableName

_OLD_TOLD = 5
"""How many old transactions are told: the oldest."""


class StuckReason(OpenEnum):
    """Why a subscription does not move."""

    DISABLED = "disabled"
    DETACHED = "detached"
    """It has no slot."""
    NO_WORKER_FREE = "no worker free"
    """A setting of the subscriber bounds its workers, or what they need."""
    PUBLISHER_UNREACHABLE = "publisher unreachable"
    PUBLISHER_FULL = "publisher full"
    """All of the publisher's slots or senders are in use."""
    PUBLICATION_MISSING = "publication missing"
    SLOT_MISSING = "slot missing"
    SLOT_LOST = "slot lost"
    SLOT_TAKEN = "slot taken"
    """Somebody else uses it."""
    TABLE_MISSING = "table missing"
    """A published table is not on the subscriber."""
    TABLE_NOT_TAKEN = "table not taken"
    """A published table is on the subscriber, and not in the subscription yet."""
    COLUMN_MISSING = "column missing"
    """A table of the subscriber lacks columns that are published."""
    PERMISSION = "permission"
    ROWS_EXIST = "rows exist"
    """A copy starts again and again, because its table has rows already."""
    OLD_TRANSACTION = "old transaction"
    """A slot is being made, which waits for the transactions of the publisher."""
    FAILING_COPY = "failing copy"
    """A copy fails, and starts again and again, for a reason that is to be seen in the log only."""
    FAILING_TRANSACTION = "failing transaction"
    """A transaction cannot be applied, and is tried again and again."""
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class Stuck:
    """One reason, what shows it, and what to do."""

    reason: StuckReason
    found: str
    remedy: str
    table: TableName | None = None


@attrs.frozen(kw_only=True)
class PublisherFacts:
    """What the publisher tells, asked over the subscription's own connection string."""

    missing_publications: tuple[str, ...]
    unreadable: tuple[TableName, ...]
    slot: SlotState | None
    slot_user: str | None
    """The application_name of who uses the slot; None when nobody did, a moment after its state."""
    slots_being_made: tuple[str, ...]
    """Those of its copies that wait for transactions to end."""
    old_transactions: tuple[OldTransaction, ...]
    full: Mapping[str, int]
    """The settings that leave no place for a further slot or sender."""


@attrs.frozen(kw_only=True)
class SubscriptionFacts:
    """What the subscriber tells, and the publisher where it could be asked."""

    state: SubscriptionState
    workers: Sequence[SubscriptionWorker]
    tables: Sequence[SubscribedTable]
    stats: SubscriptionStats | None
    pool: WorkerPool
    missing_tables: Sequence[TableName]
    missing_columns: Mapping[TableName, Sequence[str]]
    untaken_tables: Sequence[TableName]
    forbidden_tables: Sequence[TableName]
    filled_tables: Sequence[TableName]
    """Those that are not copied, and have rows."""
    unreachable: str
    """Why the publisher could not be asked; empty when it could, or nobody tried."""
    publisher: PublisherFacts | None


def stuck_reasons(facts: SubscriptionFacts) -> tuple[Stuck, ...]:
    """All that keeps it from moving; UNKNOWN alone when nothing is found."""
    reasons = tuple(_reasons(facts))
    if not reasons and _uncopied(facts) and facts.stats and facts.stats.sync_error_count:
        count = facts.stats.sync_error_count
        return (
            Stuck(
                reason=StuckReason.FAILING_COPY,
                found=f"copies of its tables have failed {count} times",
                remedy="the subscriber's log says why; schema_drift() compares the tables",
            ),
        )
    if not reasons and facts.stats and facts.stats.apply_error_count:
        return (_failing(f"{_failures(facts)}, and may be at the next try"),)
    return reasons or (
        Stuck(
            reason=StuckReason.UNKNOWN,
            found="nothing that keeps it is to be seen from here",
            remedy="look into the subscriber's log, and at the publisher's",
        ),
    )


def _reasons(facts: SubscriptionFacts) -> Iterator[Stuck]:
    yield from _of_the_subscription(facts)
    yield from _of_the_publisher(facts)
    yield from _of_the_tables(facts)
    yield from _of_the_workers(facts)


def _of_the_subscription(facts: SubscriptionFacts) -> Iterator[Stuck]:
    state = facts.state
    if state.subslotname is None:
        yield Stuck(
            reason=StuckReason.DETACHED,
            found="it has no slot (slot_name = NONE)",
            remedy="attach_slot() gives it one",
        )
    if not state.subenabled:
        failed = facts.stats is not None and facts.stats.apply_error_count > 0
        by_error = " after an error" if state.subdisableonerr and failed else ""
        yield Stuck(
            reason=StuckReason.DISABLED,
            found=f"it is disabled{by_error}",
            remedy="failure() tells what failed; then enable()" if by_error else "enable()",
        )


def _of_the_publisher(facts: SubscriptionFacts) -> Iterator[Stuck]:
    name = facts.state.subslotname
    if facts.unreachable:
        yield Stuck(
            reason=StuckReason.PUBLISHER_UNREACHABLE,
            found=facts.unreachable,
            remedy="start the publisher, or set_connection() to where it is now",
        )
    publisher = facts.publisher
    if publisher is None:
        return
    for publication in publisher.missing_publications:
        yield Stuck(
            reason=StuckReason.PUBLICATION_MISSING,
            found=f"the publisher has no publication {publication!r}",
            remedy="create it there, or set_publications() to others",
        )
    for table in publisher.unreadable:
        yield Stuck(
            reason=StuckReason.PERMISSION,
            found=f"the role that connects to the publisher may not read {table}",
            remedy=f"GRANT SELECT ON {table} TO that role, on the publisher",
            table=table,
        )
    slot = publisher.slot
    if name is not None and slot is None:
        yield Stuck(
            reason=StuckReason.SLOT_MISSING,
            found=f"the publisher has no slot {name!r}",
            remedy="what was written since is lost to it: drop it, and subscribe anew with a copy",
        )
    elif slot is not None and slot.is_lost:
        yield Stuck(
            reason=StuckReason.SLOT_LOST,
            found=f"the slot {name!r} is {slot.invalidation_reason or slot.wal_status}",
            remedy="what was written since is lost to it: drop it, and subscribe anew with a copy",
        )
    elif slot is not None and publisher.slot_user is not None and not _receiving(facts, publisher):
        yield Stuck(
            reason=StuckReason.SLOT_TAKEN,
            found=f"process {slot.active_pid} of the publisher uses the slot {name!r}",
            remedy="find out whose it is: two subscribers cannot share a slot",
        )


def _of_the_tables(facts: SubscriptionFacts) -> Iterator[Stuck]:
    for table in facts.missing_tables:
        yield Stuck(
            reason=StuckReason.TABLE_MISSING,
            found=f"the subscriber has no table {table}",
            remedy="create it as the publisher has it",
            table=table,
        )
    for table in facts.untaken_tables:
        yield Stuck(
            reason=StuckReason.TABLE_NOT_TAKEN,
            found=f"{table} is published, and not in the subscription",
            remedy="refresh_publications() takes it in",
            table=table,
        )
    if not facts.tables and not facts.untaken_tables:
        yield Stuck(
            reason=StuckReason.TABLE_NOT_TAKEN,
            found="the subscription has no table",
            remedy="add tables to its publications, then refresh_publications()",
        )
    for table, columns in facts.missing_columns.items():
        yield Stuck(
            reason=StuckReason.COLUMN_MISSING,
            found=f"{table} lacks the published columns {', '.join(columns)} on the subscriber",
            remedy="add them there: schema_drift() has the DDL",
            table=table,
        )
    for table in facts.forbidden_tables:
        yield Stuck(
            reason=StuckReason.PERMISSION,
            found=f"{facts.state.subowner}, who owns it, may not write all of {table}, or row"
            " security forbids it",
            remedy="make that role a member of the table's owner; or grant it all on the table,"
            " without row security, and from 16 on set run_as_owner; row security that is forced"
            " binds the table's owner too",
            table=table,
        )
    for table in facts.filled_tables:
        yield Stuck(
            reason=StuckReason.ROWS_EXIST,
            found=f"{table} is not copied, and has rows",
            remedy=f"TRUNCATE {table} on the subscriber, and the next try succeeds;"
            " or subscribe with copy_data=False",
            table=table,
        )


def _of_the_workers(facts: SubscriptionFacts) -> Iterator[Stuck]:
    if not facts.state.subenabled or facts.unreachable:
        return
    lacking = (*_lacking_here(facts), *_lacking_there(facts))
    yield from lacking
    if facts.publisher is not None and facts.publisher.slots_being_made:
        for old in facts.publisher.old_transactions[:_OLD_TOLD]:
            yield Stuck(
                reason=StuckReason.OLD_TRANSACTION,
                found=f"{old}, is open on the publisher",
                remedy="the slot for a copy waits for its end: commit it, or roll it back",
            )
    if not lacking and (failures := _failures(facts)) and not _applying(facts):
        yield _failing(f"{failures}, and does not run now")


def _failing(found: str) -> Stuck:
    return Stuck(
        reason=StuckReason.FAILING_TRANSACTION,
        found=f"its apply worker {found}",
        remedy="failure() tells which transaction; mend what it meets, or skip() it",
    )


def _lacking_here(facts: SubscriptionFacts) -> Iterator[Stuck]:
    """The settings of the subscriber that keep a worker of it from running."""
    pool, waiting = facts.pool, [table for table in _uncopied(facts) if table.pid is None]
    if not waiting and _applying(facts):
        return
    if pool.running >= pool.most:
        more = f"more, and max_worker_processes (now {pool.most_processes}) to more than that"
        yield _bounded("max_logical_replication_workers", pool.most, more)
    if pool.processes >= pool.most_processes:
        yield _bounded("max_worker_processes", pool.most_processes, "more")
    if waiting and not pool.most_copies:
        yield _bounded("max_sync_workers_per_subscription", 0, "1 or more", "reload")
    if pool.most_origins is not None and pool.origins >= pool.most_origins:
        yield _bounded(pool.origins_setting, pool.most_origins, "more, for replication origins")


def _bounded(setting: str, most: int, more: str, then: str = "restart") -> Stuck:
    return Stuck(
        reason=StuckReason.NO_WORKER_FREE,
        found=f"{setting} is {most}, and all of that is in use",
        remedy=f"ALTER SYSTEM SET {setting} to {more}; {then} the subscriber",
    )


def _lacking_there(facts: SubscriptionFacts) -> Iterator[Stuck]:
    """The settings of the publisher that leave no place for it."""
    waiting = any(table.pid is None for table in _uncopied(facts))
    for setting, most in facts.publisher.full.items() if facts.publisher else ():
        # Its own slot is there already; copies need others.
        if waiting or (setting == "max_wal_senders" and not _applying(facts)):
            yield Stuck(
                reason=StuckReason.PUBLISHER_FULL,
                found=f"{setting} of the publisher is {most}, and all of that is in use",
                remedy=f"ALTER SYSTEM SET {setting} to more there, and restart it; or drop what is"
                " nobody's: orphans() finds slots",
            )


def _uncopied(facts: SubscriptionFacts) -> list[SubscribedTable]:
    """Its tables of which no row is copied yet."""
    begun = {TableState.INIT, TableState.DATA_COPY}
    return [t for t in facts.tables if t.state in begun and not t.tuples_processed]


def _failures(facts: SubscriptionFacts) -> str:
    """How its apply worker fails; empty when it does not, as far as that can be known."""
    if facts.stats is not None:
        count = facts.stats.apply_error_count
        return f"has failed {count} times" if count else ""
    # Before 15 nothing counts it: a worker that has its slot, and does not use it, has failed.
    slot = facts.publisher.slot if facts.publisher else None
    is_waiting = slot is not None and not slot.active and not slot.is_lost
    return "is started again and again" if is_waiting else ""


def _receiving(facts: SubscriptionFacts, publisher: PublisherFacts) -> bool:
    # A worker that has just been started has received nothing yet.
    received = any(w.received_lsn for w in facts.workers if w.worker_type is WorkerType.APPLY)
    return received or publisher.slot_user == facts.state.subname


def _applying(facts: SubscriptionFacts) -> bool:
    return any(worker.worker_type is WorkerType.APPLY for worker in facts.workers)


class SubscriptionStuck(WaitTimeout):
    """A subscription that did not get where it was awaited.

    Attributes:
        waited_for: what was awaited, and how far it got.
        reasons: all that keeps it, as far as both servers tell.
    """

    waited_for: str
    reasons: tuple[Stuck, ...]

    def __init__(self, waited_for: str, reasons: tuple[Stuck, ...]) -> None:
        super().__init__(waited_for, reasons)
        self.waited_for, self.reasons = waited_for, reasons

    def __str__(self) -> str:
        lines = [f"{stuck.reason}: {stuck.found}; {stuck.remedy}" for stuck in self.reasons]
        return "\n  ".join([f"{self.waited_for}:", *lines])
