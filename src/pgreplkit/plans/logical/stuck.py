"""Stuck: the reasons why a subscription makes no progress, from what both servers report."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from pgreplkit._text import counted
from pgreplkit.catalog.logical.stuck import LockHolder, OldTransaction, WorkerPool
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
from pgreplkit.values.record import Record
from pgreplkit.values.tablename import TableName

_TRANSACTIONS_LISTED = 5
"""The oldest transactions are listed: a copy waits for them first, and the list stays short."""


class StuckReason(OpenEnum):
    """Why a subscription makes no progress."""

    DISABLED = "disabled"
    DETACHED = "detached"
    """The subscription has no slot."""
    NO_WORKER_FREE = "no worker free"
    """A setting of the subscriber limits the workers, or what they need."""
    PUBLISHER_UNREACHABLE = "publisher unreachable"
    PUBLISHER_FULL = "publisher full"
    """All of the publisher's slots or walsenders are in use."""
    PUBLICATION_MISSING = "publication missing"
    SLOT_MISSING = "slot missing"
    SLOT_LOST = "slot lost"
    SLOT_TAKEN = "slot taken"
    """Another client uses the slot."""
    TABLE_MISSING = "table missing"
    """The subscriber lacks a published table."""
    TABLE_NOT_TAKEN = "table not taken"
    """The subscriber has a published table that is not yet in the subscription."""
    COLUMN_MISSING = "column missing"
    """A table of the subscriber lacks published columns."""
    PERMISSION = "permission"
    ROWS_EXIST = "rows exist"
    """A copy is retried without success, because its table already has rows."""
    OLD_TRANSACTION = "old transaction"
    """A slot is being created, and waits for the end of the publisher's open transactions."""
    LOCKED = "locked"
    """A worker waits for a lock of another session of the subscriber."""
    FAILING_COPY = "failing copy"
    """A copy fails and is retried; only the log shows the reason."""
    FAILING_TRANSACTION = "failing transaction"
    """A transaction cannot be applied, and is retried."""
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class SubscriptionProblem(Record):
    """A reason why a subscription makes no progress, with its evidence and remedy."""

    reason: StuckReason
    found: str
    remedy: str
    table: TableName | None = None


@attrs.frozen(kw_only=True)
class PublisherFacts:
    """The publisher's part of the facts, read over the subscription's connection string."""

    missing_publications: tuple[str, ...]
    unreadable: tuple[TableName, ...]
    slot: SlotState | None
    slot_user: str | None
    """The application_name of the client that uses the slot; None if none did, read just after
    ``slot``."""
    slots_being_made: tuple[str, ...]
    """Slots for copies of this subscription that wait for transactions to end."""
    old_transactions: tuple[OldTransaction, ...]
    full: Mapping[str, int]
    """The settings that allow no further slot or walsender, with their values."""


@attrs.frozen(kw_only=True)
class SubscriptionFacts:
    """The facts about a subscription that makes no progress."""

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
    """Tables that are not copied yet, and have rows."""
    lock_holders: Sequence[LockHolder]
    """The sessions for whose locks its workers wait."""
    unreachable: str
    """The error of the connection to the publisher; empty if there was none."""
    publisher: PublisherFacts | None


def stuck_reasons(facts: SubscriptionFacts) -> tuple[SubscriptionProblem, ...]:
    """Return every reason that the facts show; only UNKNOWN if they show none."""
    reasons = tuple(_reasons(facts))
    # The counters only grow, so that old errors explain nothing where another reason is known.
    if not reasons and _uncopied(facts) and facts.stats and facts.stats.sync_error_count:
        count = facts.stats.sync_error_count
        return (
            SubscriptionProblem(
                reason=StuckReason.FAILING_COPY,
                found=f"copies of its tables have failed {counted(count, 'time')}",
                remedy="read the subscriber's log; schema_drift() compares the tables",
            ),
        )
    if not reasons and facts.stats and facts.stats.apply_error_count:
        return (_failing(f"{_failures(facts)}, and may retry at the moment"),)
    return reasons or (_unknown(facts),)


def _unknown(facts: SubscriptionFacts) -> SubscriptionProblem:
    found = "no reason is visible to this role on either server"
    remedy = "read the logs of the subscriber and of the publisher"
    if _applying(facts):
        # As after a large transaction, or after the subscriber was down for a while.
        found += ", and its apply worker is running"
        remedy = f"if its lag falls, it is only behind: wait for longer; otherwise {remedy}"
    return SubscriptionProblem(reason=StuckReason.UNKNOWN, found=found, remedy=remedy)


# Every reason is listed, not only the first: removing one would only show the next.
def _reasons(facts: SubscriptionFacts) -> Iterator[SubscriptionProblem]:
    yield from _of_subscription(facts)
    yield from _of_publisher(facts)
    yield from _of_tables(facts)
    yield from _of_workers(facts)


def _of_subscription(facts: SubscriptionFacts) -> Iterator[SubscriptionProblem]:
    state = facts.state
    if state.subslotname is None:
        yield SubscriptionProblem(
            reason=StuckReason.DETACHED,
            found="the subscription has no slot (slot_name = NONE)",
            remedy="attach_slot() sets one",
        )
    if not state.subenabled:
        # Only the counters distinguish the server's own disabling from the user's.
        failed = facts.stats is not None and facts.stats.apply_error_count > 0
        by_error = " after an error" if state.subdisableonerr and failed else ""
        yield SubscriptionProblem(
            reason=StuckReason.DISABLED,
            found=f"the subscription is disabled{by_error}",
            remedy="failure() shows the transaction; resolve the cause, then enable()"
            if by_error
            else "enable()",
        )


def _of_publisher(facts: SubscriptionFacts) -> Iterator[SubscriptionProblem]:
    name = facts.state.subslotname
    if facts.unreachable:
        yield SubscriptionProblem(
            reason=StuckReason.PUBLISHER_UNREACHABLE,
            found=facts.unreachable,
            remedy="start the publisher, or set_connection() to its current address",
        )
    publisher = facts.publisher
    # It was not reached, or the role may not read the connection string: nothing is known of it.
    if publisher is None:
        return
    for publication in publisher.missing_publications:
        yield SubscriptionProblem(
            reason=StuckReason.PUBLICATION_MISSING,
            found=f"the publisher has no publication {publication!r}",
            remedy="create the publication there, or set_publications() to others",
        )
    for table in publisher.unreadable:
        yield SubscriptionProblem(
            reason=StuckReason.PERMISSION,
            found=f"the role that connects to the publisher may not SELECT from {table}",
            remedy=f"GRANT SELECT ON {table} TO that role, on the publisher",
            table=table,
        )
    slot = publisher.slot
    if name is not None and slot is None:
        yield SubscriptionProblem(
            reason=StuckReason.SLOT_MISSING,
            found=f"the publisher has no slot {name!r}",
            remedy="changes are lost: drop the subscription, and subscribe again with a copy",
        )
    elif slot is not None and slot.is_lost:
        yield SubscriptionProblem(
            reason=StuckReason.SLOT_LOST,
            found=f"the slot {name!r} is {slot.invalidation_reason or slot.wal_status}",
            remedy="changes are lost: drop the subscription, and subscribe again with a copy",
        )
    # The own worker uses the slot too.
    elif slot is not None and publisher.slot_user is not None and not _receiving(facts, publisher):
        yield SubscriptionProblem(
            reason=StuckReason.SLOT_TAKEN,
            found=f"process {slot.active_pid} of the publisher uses the slot {name!r}",
            remedy="find out which client that is: two subscribers cannot share a slot",
        )


def _of_tables(facts: SubscriptionFacts) -> Iterator[SubscriptionProblem]:
    # One problem for each table, which is resolved by itself.
    for table in facts.missing_tables:
        yield SubscriptionProblem(
            reason=StuckReason.TABLE_MISSING,
            found=f"the subscriber has no table {table}",
            remedy="create the table: schema_drift() and copy_schema() help",
            table=table,
        )
    for table in facts.untaken_tables:
        yield SubscriptionProblem(
            reason=StuckReason.TABLE_NOT_TAKEN,
            found=f"{table} is published, but not in the subscription",
            remedy="refresh_publications() adds it",
            table=table,
        )
    if not facts.tables and not facts.untaken_tables:
        yield SubscriptionProblem(
            reason=StuckReason.TABLE_NOT_TAKEN,
            found="the subscription has no table",
            remedy="add tables to its publications, then refresh_publications()",
        )
    for table, columns in facts.missing_columns.items():
        yield SubscriptionProblem(
            reason=StuckReason.COLUMN_MISSING,
            found=f"{table} lacks the published columns {', '.join(columns)} on the subscriber",
            remedy="add the columns: schema_drift() has the DDL",
            table=table,
        )
    # Before 16, changes are always applied by the subscription's owner.
    as_owner = "" if facts.state.subrunasowner is None else ", and set run_as_owner"
    for table in facts.forbidden_tables:
        yield SubscriptionProblem(
            reason=StuckReason.PERMISSION,
            found=f"the subscription's owner {facts.state.subowner} may not write to {table},"
            " or row level security prevents it",
            remedy="make the role a member of the table's owner; or grant it all privileges on the"
            f" table, without row level security{as_owner}; FORCE ROW LEVEL SECURITY applies to the"
            " table's owner too",
            table=table,
        )
    # A copy into a table that has rows fails at its primary key, again and again.
    for table in facts.filled_tables:
        yield SubscriptionProblem(
            reason=StuckReason.ROWS_EXIST,
            found=f"{table} is not copied yet, and already has rows",
            remedy=f"TRUNCATE {table} on the subscriber, and the next attempt succeeds;"
            " or subscribe with copy_data=False",
            table=table,
        )


def _of_workers(facts: SubscriptionFacts) -> Iterator[SubscriptionProblem]:
    # A disabled subscription needs no workers, and a worker that cannot connect hits no limit.
    if not facts.state.subenabled or facts.unreachable:
        return
    lacking = (*_limits_here(facts), *_limits_there(facts))
    yield from lacking
    if facts.publisher is not None and facts.publisher.slots_being_made:
        for old in facts.publisher.old_transactions[:_TRANSACTIONS_LISTED]:
            yield SubscriptionProblem(
                reason=StuckReason.OLD_TRANSACTION,
                found=f"the publisher has an open transaction: {old}",
                remedy="commit or roll back the transaction: the slot for a copy waits for its end",
            )
    for holder in facts.lock_holders:
        end = f"SELECT pg_terminate_backend({holder.pid}) ends it"
        yield SubscriptionProblem(
            reason=StuckReason.LOCKED,
            found=f"a worker of the subscriber waits for a lock of {holder}",
            remedy="commit or roll back that transaction: "
            + (end if holder.pid else "pg_prepared_xacts and pg_locks show it"),
        )
    if not lacking and (failures := _failures(facts)) and not _applying(facts):
        yield _failing(f"{failures}, and is not running")


def _failing(found: str) -> SubscriptionProblem:
    return SubscriptionProblem(
        reason=StuckReason.FAILING_TRANSACTION,
        found=f"the apply worker {found}",
        remedy="failure() shows the transaction; resolve the conflict, or skip() the transaction",
    )


def _limits_here(facts: SubscriptionFacts) -> Iterator[SubscriptionProblem]:
    """Yield the settings of the subscriber that prevent a worker from starting."""
    # The limits count the workers of all subscriptions, in all databases of the server.
    pool, waiting = facts.pool, [table for table in _uncopied(facts) if table.pid is None]
    if not waiting and _applying(facts):
        return
    # max_worker_processes includes these workers and those of parallel queries.
    if pool.running >= pool.most:
        more = f"more, and max_worker_processes (now {pool.most_processes}) to more than that"
        yield _limit("max_logical_replication_workers", pool.most, more)
    if pool.processes >= pool.most_processes:
        yield _limit("max_worker_processes", pool.most_processes, "more")
    # With 0 no table is ever copied, though no worker is missing.
    if waiting and not pool.most_copies:
        yield _limit("max_sync_workers_per_subscription", 0, "1 or more", "reload")
    if pool.most_origins is not None and pool.origins >= pool.most_origins:
        yield _limit(pool.origins_setting, pool.most_origins, "more, for replication origins")


def _limit(setting: str, most: int, more: str, then: str = "restart") -> SubscriptionProblem:
    return SubscriptionProblem(
        reason=StuckReason.NO_WORKER_FREE,
        found=f"{setting} is {most}, all in use",
        remedy=f"ALTER SYSTEM SET {setting} to {more}; {then} the subscriber",
    )


def _limits_there(facts: SubscriptionFacts) -> Iterator[SubscriptionProblem]:
    """Yield the settings of the publisher that allow no further slot or walsender."""
    waiting = any(table.pid is None for table in _uncopied(facts))
    for setting, most in facts.publisher.full.items() if facts.publisher else ():
        # The subscription's own slot exists; each copy needs another one.
        if waiting or (setting == "max_wal_senders" and not _applying(facts)):
            yield SubscriptionProblem(
                reason=StuckReason.PUBLISHER_FULL,
                found=f"{setting} of the publisher is {most}, all in use",
                remedy=f"increase {setting} on the publisher with ALTER SYSTEM and restart it; or"
                " drop unused slots: find_orphans() finds them",
            )


def _uncopied(facts: SubscriptionFacts) -> list[SubscribedTable]:
    """Return the tables of which no row is copied yet."""
    begun = {TableState.INIT, TableState.DATA_COPY}
    return [t for t in facts.tables if t.state in begun and not t.tuples_processed]


def _failures(facts: SubscriptionFacts) -> str:
    """Describe how the apply worker fails; empty if no failure is known."""
    if facts.stats is not None:
        count = facts.stats.apply_error_count
        return f"has failed {counted(count, 'time')}" if count else ""
    # There are no counters before 15. A worker that does not use its slot has failed.
    slot = facts.publisher.slot if facts.publisher else None
    is_waiting = slot is not None and not slot.active and not slot.is_lost
    return "restarts repeatedly" if is_waiting else ""


def _receiving(facts: SubscriptionFacts, publisher: PublisherFacts) -> bool:
    # A worker that has just started has received nothing yet.
    received = any(w.received_lsn for w in facts.workers if w.worker_type is WorkerType.APPLY)
    return received or publisher.slot_user == facts.state.subname


def _applying(facts: SubscriptionFacts) -> bool:
    return any(worker.worker_type is WorkerType.APPLY for worker in facts.workers)


class SubscriptionStuck(WaitTimeout):
    """A subscription did not reach the awaited state.

    Attributes:
        waited_for: the awaited state, and how far the subscription got.
        reasons: every reason that both servers show.
    """

    waited_for: str
    reasons: tuple[SubscriptionProblem, ...]

    def __init__(self, waited_for: str, reasons: Iterable[SubscriptionProblem]) -> None:
        super().__init__(waited_for, reasons := tuple(reasons))
        self.waited_for, self.reasons = waited_for, reasons

    def __str__(self) -> str:
        lines = [f"{stuck.reason}: {stuck.found}; {stuck.remedy}" for stuck in self.reasons]
        return "\n  ".join([f"{self.waited_for}:", *lines])
