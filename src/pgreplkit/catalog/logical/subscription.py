"""SubscriptionState and what belongs to it: workers, tables, counters of errors and conflicts."""

from __future__ import annotations

from datetime import datetime

import attrs

from pgreplkit.catalog.view import View, column, table_in
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.tablename import TableName


class Streaming(OpenEnum):
    """Whether transactions are sent before they have committed (14 on)."""

    OFF = "f"
    ON = "t"
    """They are, and wait in files until they commit."""
    PARALLEL = "p"
    """They are, and are applied at once by workers of their own (16 on)."""


class TwoPhaseState(OpenEnum):
    """Whether prepared transactions are sent when they are prepared (15 on)."""

    DISABLED = "d"
    PENDING = "p"
    """Asked for; it begins when all tables are ready."""
    ENABLED = "e"


@attrs.frozen(kw_only=True)
class SubscriptionState:
    """A subscription as it was when it was read. A column that the server's major lacks is None.

    Where it connects to is not in it: that may hold a password, and only superusers may see it.

    Source: pg_subscription.
    """

    oid: int
    subname: str
    subowner: str = attrs.field(metadata=column(sql="pg_get_userbyid(subowner)"))
    """The owner's name, with whose rights it runs."""
    subenabled: bool
    subslotname: str | None
    """Its slot on the publisher; None when it was detached from it."""
    subsynccommit: str
    """synchronous_commit of its workers."""
    subpublications: tuple[str, ...] = attrs.field(converter=tuple)
    subbinary: bool | None = attrs.field(default=None, metadata=column(since=14))
    substream: Streaming | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(Streaming),
        metadata=column(
            since=14,
            sql="substream",
            before=16,
            older_sql="CASE WHEN substream THEN 't' ELSE 'f' END",
        ),
    )
    subtwophasestate: TwoPhaseState | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(TwoPhaseState),
        metadata=column(since=15),
    )
    subdisableonerr: bool | None = attrs.field(default=None, metadata=column(since=15))
    """Whether an error disables it; else its workers try again for ever."""
    subskiplsn: LSN | None = attrs.field(
        default=None, metadata=column(since=15, sql="nullif(subskiplsn, '0/0')")
    )
    """The finish LSN of the transaction that it will skip."""
    subpasswordrequired: bool | None = attrs.field(default=None, metadata=column(since=16))
    subrunasowner: bool | None = attrs.field(default=None, metadata=column(since=16))
    suborigin: str | None = attrs.field(default=None, metadata=column(since=16))
    """"none" asks for changes only that have no origin, "any" for all."""
    subfailover: bool | None = attrs.field(default=None, metadata=column(since=17))


_HERE = "subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
SUBSCRIPTIONS = View(SubscriptionState, f"pg_subscription WHERE {_HERE} ORDER BY subname")
ONE_SUBSCRIPTION = View(SubscriptionState, f"pg_subscription WHERE {_HERE} AND subname = %s::name")
CONNECTION = "SELECT subconninfo AS conninfo FROM pg_subscription WHERE oid = %s::oid"

SUBSCRIBED_TABLES = """pg_subscription_rel
    JOIN pg_class ON pg_class.oid = srrelid AND relkind <> 'S'
    JOIN pg_namespace ON pg_namespace.oid = relnamespace"""
"""The tables of subscriptions, to select from, without the sequences that are there from 19 on."""
SUBSCRIBED_NAMES = f"SELECT DISTINCT nspname, relname FROM {SUBSCRIBED_TABLES} ORDER BY 1, 2"
"""The tables of all subscriptions of the database."""
ALL_SUBSCRIPTIONS = "SELECT oid, subslotname::text AS slot FROM pg_subscription"
"""Of all databases."""
ORIGINS = "SELECT roname AS name FROM pg_replication_origin"
ORIGIN_POSITION = "SELECT pg_replication_origin_progress(%s::text, true) AS lsn"
LOG_TAIL = """
    SELECT convert_from(pg_read_binary_file(pg_current_logfile('stderr'),
        greatest(0, (pg_stat_file(pg_current_logfile('stderr'))).size - %s::bigint), %s::bigint),
        'SQL_ASCII') AS log
"""
ADVANCE_ORIGIN = "SELECT pg_replication_origin_advance(%s::text, %s::pg_lsn)"


class WorkerType(OpenEnum):
    """What a worker of a subscription does; before 17 found from its other columns."""

    APPLY = "apply"
    PARALLEL_APPLY = "parallel apply"
    TABLE_SYNCHRONIZATION = "table synchronization"
    SEQUENCE_SYNCHRONIZATION = "sequence synchronization"
    """From 19 on."""


@attrs.frozen(kw_only=True)
class SubscriptionWorker:
    """A worker of a subscription that runs now.

    Source: pg_stat_subscription.
    """

    pid: int
    worker_type: WorkerType = attrs.field(
        converter=WorkerType,
        metadata=column(
            sql="worker_type",
            before=17,
            older_sql="""CASE WHEN relid IS NOT NULL THEN 'table synchronization'
                WHEN (to_jsonb(pg_stat_subscription) ->> 'leader_pid') IS NOT NULL
                THEN 'parallel apply' ELSE 'apply' END""",
        ),
    )
    leader_pid: int | None = attrs.field(default=None, metadata=column(since=16))
    relid: int | None
    """The table that it synchronizes."""
    received_lsn: LSN | None = attrs.field(metadata=column(sql="nullif(received_lsn, '0/0')"))
    """How far it has received."""
    last_msg_send_time: datetime | None
    last_msg_receipt_time: datetime | None
    latest_end_lsn: LSN | None = attrs.field(metadata=column(sql="nullif(latest_end_lsn, '0/0')"))
    """The publisher's position in its last message that asked for or got a reply."""
    latest_end_time: datetime | None


WORKERS = View(
    SubscriptionWorker,
    """pg_stat_subscription WHERE subid = %s::oid AND pid IS NOT NULL
    ORDER BY relid NULLS FIRST, pid""",
)


class TableState(OpenEnum):
    """How far a subscription is with a table."""

    INIT = "i"
    """Nothing is done yet."""
    DATA_COPY = "d"
    """Its rows are being copied; or the copy has failed, and is tried again."""
    FINISHED_COPY = "f"
    """The copy is there (14 on)."""
    SYNCED = "s"
    """What was changed meanwhile is there too."""
    READY = "r"
    """The apply worker has taken over."""


@attrs.frozen(kw_only=True)
class SubscribedTable:
    """A table of a subscription.

    Source: pg_subscription_rel, and from 14 on pg_stat_progress_copy.
    """

    relid: int
    table: TableName
    state: TableState = attrs.field(converter=TableState)
    lsn: LSN | None
    """Where the publisher was when it became SYNCED or READY."""
    pid: int | None
    """The worker that synchronizes it now."""
    bytes_processed: int | None = None
    """How much of it is copied; None when it is not being copied, and before 14."""
    tuples_processed: int | None = None
    """How many rows of it are copied."""


def subscribed_tables(major: int) -> str:
    """The tables of one subscription, by name."""
    progress = join = ""
    if major >= 14:
        progress = ", bytes_processed, tuples_processed"
        join = "LEFT JOIN pg_stat_progress_copy copy ON copy.pid = worker.pid"
    return f"""
        SELECT pg_class.oid AS relid, nspname AS schema, relname AS name, srsubstate AS state,
            nullif(srsublsn, '0/0') AS lsn, worker.pid {progress}
        FROM {SUBSCRIBED_TABLES}
        LEFT JOIN pg_stat_subscription worker ON worker.subid = srsubid AND worker.relid = srrelid
        {join}
        WHERE srsubid = %s::oid ORDER BY nspname, relname
    """


def subscribed_table_in(record: dict[str, object]) -> SubscribedTable:
    """The row of one record of that statement."""
    return SubscribedTable(table=table_in(record), **record)  # type: ignore[arg-type]


@attrs.frozen(kw_only=True)
class SubscriptionStats:
    """How often a subscription's workers failed, and what conflicts they met (18 on).

    A conflict that ends in an error counts in both. What 15 to 17 skip they do not count at all.

    Source: pg_stat_subscription_stats (15 on).
    """

    apply_error_count: int
    sync_error_count: int = attrs.field(
        metadata=column(
            sql="(to_jsonb(pg_stat_subscription_stats) ->> 'sync_table_error_count')::bigint",
            before=19,
            older_sql="sync_error_count",
        )
    )
    """Errors while tables were copied; 19 calls it sync_table_error_count."""
    sync_seq_error_count: int | None = attrs.field(default=None, metadata=column(since=19))
    """Errors while sequences were synchronized."""
    confl_insert_exists: int | None = attrs.field(default=None, metadata=column(since=18))
    """A row to insert was there already, by a unique key: an error."""
    confl_update_origin_differs: int | None = attrs.field(default=None, metadata=column(since=18))
    """A row to update was last changed by another: updated nevertheless."""
    confl_update_exists: int | None = attrs.field(default=None, metadata=column(since=18))
    """An updated row would have had the key of another: an error."""
    confl_update_missing: int | None = attrs.field(default=None, metadata=column(since=18))
    """A row to update was not there: skipped."""
    confl_delete_origin_differs: int | None = attrs.field(default=None, metadata=column(since=18))
    """A row to delete was last changed by another: deleted nevertheless."""
    confl_delete_missing: int | None = attrs.field(default=None, metadata=column(since=18))
    """A row to delete was not there: skipped."""
    confl_multiple_unique_conflicts: int | None = attrs.field(
        default=None, metadata=column(since=18)
    )
    """A row had the keys of several others: an error."""
    confl_update_deleted: int | None = attrs.field(default=None, metadata=column(since=19))
    """A row to update was deleted not long ago: skipped."""
    stats_reset: datetime | None


STATS = View(SubscriptionStats, "pg_stat_subscription_stats WHERE subid = %s::oid")

# Statements about subscriptions; {} stand for identifiers and checked values.
ENABLE = "ENABLE"
DISABLE = "DISABLE"
REFRESH_PUBLICATION = "REFRESH PUBLICATION"
REFRESH_SEQUENCES = "REFRESH SEQUENCES"
WITHOUT_REFRESH = "refresh = false"
SET_PUBLICATION = "SET PUBLICATION {}"
SET_OPTIONS = "SET ({})"
DETACH_SLOT = "SET (slot_name = NONE)"
SKIP_TRANSACTION = "SKIP (lsn = {})"
RENAME = "RENAME TO {}"
CHANGE_OWNER = "OWNER TO {}"
WITH_OPTION = "{} WITH ({})"
ALTER_SUBSCRIPTION = "ALTER SUBSCRIPTION {} {}"
COPY_DATA = "copy_data = true"
DO_NOT_COPY_DATA = "copy_data = false"
CREATE_SUBSCRIPTION = "CREATE SUBSCRIPTION {} {} PUBLICATION {}"
WITH_OPTIONS = " WITH ({})"
DROP_SUBSCRIPTION = "DROP SUBSCRIPTION {}"
DISABLE_SUBSCRIPTION = "ALTER SUBSCRIPTION {} DISABLE"
DETACH_SUBSCRIPTION = "ALTER SUBSCRIPTION {} SET (slot_name = NONE)"
