"""Stuck: why a subscription does not move, as far as both servers tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from pgreplkit.catalog.slots import SlotState
from pgreplkit.catalog.subscribing import OldTransaction, WorkerPool
from pgreplkit.catalog.subscriptions import (
    SubscribedTable,
    SubscriptionState,
    SubscriptionStats,
    SubscriptionWorker,
    TableState,
    WorkerType,
)
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.tablename import TableName


class StuckReason(OpenEnum):
    """Why a subscription does not move."""

    __module__ = "pgreplkit"

    DISABLED = "disabled"
    DETACHED = "detached"
    """It has no slot."""
    NO_WORKER_FREE = "no worker free"
    PUBLISHER_UNREACHABLE = "publisher unreachable"
    PUBLICATION_MISSING = "publication missing"
    SLOT_MISSING = "slot missing"
    SLOT_LOST = "slot lost"
    SLOT_TAKEN = "slot taken"
    """Somebody else uses it."""
    TABLE_MISSING = "table missing"
    """A published table is not on the subscriber."""
    PERMISSION = "permission"
    ROWS_EXIST = "rows exist"
    """A copy starts again and again, because its table has rows already."""
    OLD_TRANSACTION = "old transaction"
    """A slot is being made, which waits for the transactions of the publisher."""
    FAILING_TRANSACTION = "failing transaction"
    """A transaction cannot be applied, and is tried again and again."""
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class Stuck:
    """One reason, what shows it, and what to do."""

    __module__ = "pgreplkit"

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
    old_transactions: tuple[OldTransaction, ...]


@attrs.frozen(kw_only=True)
class SubscriptionFacts:
    """What the subscriber tells, and the publisher where it could be asked."""

    state: SubscriptionState
    workers: Sequence[SubscriptionWorker]
    tables: Sequence[SubscribedTable]
    stats: SubscriptionStats | None
    pool: WorkerPool
    missing_tables: Sequence[TableName]
    forbidden_tables: Sequence[TableName]
    filled_tables: Sequence[TableName]
    """Those that are not copied, and have rows."""
    unreachable: str
    """Why the publisher could not be asked; empty when it could, or nobody tried."""
    publisher: PublisherFacts | None


def stuck_reasons(facts: SubscriptionFacts) -> tuple[Stuck, ...]:
    """All that keeps it from moving; UNKNOWN alone when nothing is found."""
    return tuple(_reasons(facts)) or (
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
    for table in facts.forbidden_tables:
        yield Stuck(
            reason=StuckReason.PERMISSION,
            found=f"{facts.state.subowner}, who owns it, may not write all of {table}",
            remedy="make that role a member of the table's owner; or grant it all on the table,"
            " without row security, and from 16 on set run_as_owner",
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
    waiting = [t for t in facts.tables if t.state is TableState.INIT and t.pid is None]
    if facts.pool.running >= facts.pool.most and (waiting or not _applying(facts)):
        yield Stuck(
            reason=StuckReason.NO_WORKER_FREE,
            found=f"all {facts.pool.most} workers of max_logical_replication_workers run",
            remedy="ALTER SYSTEM SET max_logical_replication_workers to more, and"
            f" max_worker_processes (now {facts.pool.most_processes}) to more than that; restart",
        )
    copying = [t for t in facts.tables if t.pid is not None and not t.tuples_processed]
    if facts.publisher is not None and copying:
        for old in facts.publisher.old_transactions:
            which = f"prepared transaction {old.gid!r}" if old.pid is None else f"process {old.pid}"
            yield Stuck(
                reason=StuckReason.OLD_TRANSACTION,
                found=f"{which} of {old.user} is in a transaction for {old.age} on the publisher",
                remedy="the slot for a copy waits for its end: commit it, or roll it back",
            )
    if (failures := _failures(facts)) and not _applying(facts):
        yield Stuck(
            reason=StuckReason.FAILING_TRANSACTION,
            found=f"its apply worker {failures}, and does not run now",
            remedy="failure() tells which transaction; mend what it meets, or skip() it",
        )


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
