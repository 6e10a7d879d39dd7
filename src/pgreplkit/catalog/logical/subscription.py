"""SubscriptionState, with the workers, tables and counters of a subscription."""

from datetime import datetime

import attrs

from pgreplkit.catalog.features import has
from pgreplkit.catalog.view import View, column, table_in
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.tablename import TableName


class Streaming(OpenEnum):
    """Whether transactions are sent before they have committed (14 on)."""

    OFF = "f"
    ON = "t"
    """They are sent, and kept in files until they commit."""
    PARALLEL = "p"
    """They are sent, and applied at once by parallel workers (16 on)."""


class TwoPhaseState(OpenEnum):
    """Whether prepared transactions are sent when they are prepared (15 on)."""

    DISABLED = "d"
    PENDING = "p"
    """Requested; it starts when all tables are ready."""
    ENABLED = "e"


@attrs.frozen(kw_only=True)
class SubscriptionState(Record):
    """A subscription when it was last read; a column that the server's version lacks is None.

    It omits the connection string, which may hold a password, and which only superusers may read.

    Source: pg_subscription.
    """

    oid: int
    subname: str
    subowner: str = attrs.field(metadata=column(sql="pg_get_userbyid(subowner)"))
    """The owner's name; it runs with the owner's privileges."""
    subenabled: bool
    subslotname: str | None
    """Its slot on the publisher; None if it was detached."""
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
    """Whether an error disables it; otherwise its workers retry until it is disabled."""
    subskiplsn: LSN | None = attrs.field(
        default=None, metadata=column(since=15, sql="nullif(subskiplsn, '0/0')")
    )
    """The finish LSN of the transaction to skip."""
    subpasswordrequired: bool | None = attrs.field(default=None, metadata=column(since=16))
    subrunasowner: bool | None = attrs.field(default=None, metadata=column(since=16))
    suborigin: str | None = attrs.field(default=None, metadata=column(since=16))
    """"none" for changes without an origin, "any" for all changes."""
    subfailover: bool | None = attrs.field(default=None, metadata=column(since=17))


_HERE = "subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
SUBSCRIPTIONS = View(SubscriptionState, f"pg_subscription WHERE {_HERE} ORDER BY subname")
ONE_SUBSCRIPTION = View(SubscriptionState, f"pg_subscription WHERE {_HERE} AND subname = %s::name")
CONNECTION = "SELECT subconninfo AS conninfo FROM pg_subscription WHERE oid = %s::oid"

SUBSCRIBED_TABLES = """pg_subscription_rel
    JOIN pg_class ON pg_class.oid = srrelid AND relkind <> 'S'
    JOIN pg_namespace ON pg_namespace.oid = relnamespace"""
"""The FROM clause for tables of subscriptions, without their sequences (19 on)."""
ARE_READY = f"""
    SELECT coalesce(bool_and(srsubstate = 'r'), false) AS is_so
    FROM {SUBSCRIBED_TABLES} WHERE srsubid = %s::oid
"""
"""Whether the tables of a subscription are copied; false if it has none."""
IS_COPYING = f"""
    SELECT EXISTS (SELECT FROM pg_subscription WHERE oid = %s::oid AND subenabled) AND EXISTS (
        SELECT FROM {SUBSCRIBED_TABLES} WHERE srsubid = %s::oid AND srsubstate <> 'r') AS is_so
"""
"""Whether a subscription works on tables that are not copied yet."""
SUBSCRIBED_NAMES = f"SELECT DISTINCT nspname, relname FROM {SUBSCRIBED_TABLES} ORDER BY 1, 2"
"""The statement for the tables of all subscriptions of the database."""
ALL_SUBSCRIPTIONS = "SELECT oid, subslotname::text AS slot FROM pg_subscription"
"""The statement for the subscriptions of all databases."""
ORIGINS = "SELECT roname AS name FROM pg_replication_origin"
ORIGIN_POSITION = "SELECT pg_replication_origin_progress(%s::text, true) AS lsn"
PASSED = """
    SELECT latest_end_lsn AS lsn FROM pg_stat_subscription, pg_roles
    WHERE subid = %s::oid AND relid IS NULL AND latest_end_lsn IS NOT NULL
        AND rolname = current_user AND (rolsuper OR
            current_setting('server_version_num')::int >= 140000
                AND pg_catalog.has_function_privilege(
                'pg_replication_origin_progress(text, boolean)', 'EXECUTE'))
"""
"""The publisher's position in the last keepalive of the apply worker, which has applied all that
was sent before; no row if the role may not flush it with ORIGIN_POSITION. The origin's own position
moves only with transactions that change a published table."""
LOG_TAIL = """
    SELECT pg_read_binary_file(pg_current_logfile('stderr'),
        greatest(0, (pg_stat_file(pg_current_logfile('stderr'))).size - %s::bigint), %s::bigint)
        AS log,
        (SELECT reset_val FROM pg_settings WHERE name = 'lc_messages') AS language
"""
END_WORKERS = f"""
    SELECT pid, pg_terminate_backend(pid)
    FROM pg_stat_subscription JOIN pg_subscription ON pg_subscription.oid = subid
    WHERE pg_subscription.subname = ANY (%s::text[]) AND {_HERE} AND pid IS NOT NULL
"""
ADVANCE_ORIGIN = """
    SELECT pg_replication_origin_advance(%s::text, %s::pg_lsn),
        txid_current(), set_config('synchronous_commit', 'local', true)
"""
"""Without a transaction id the commit is not flushed, and a crash would lose the position."""


class WorkerType(OpenEnum):
    """The kind of a subscription's worker; before 17 derived from its other columns."""

    APPLY = "apply"
    PARALLEL_APPLY = "parallel apply"
    TABLE_SYNCHRONIZATION = "table synchronization"
    SEQUENCE_SYNCHRONIZATION = "sequence synchronization"
    """From 19 on."""


@attrs.frozen(kw_only=True)
class SubscriptionWorker(Record):
    """A running worker of a subscription.

    Source: pg_stat_subscription.
    """

    pid: int
    worker_type: WorkerType = attrs.field(
        converter=WorkerType,
        metadata=column(
            sql="worker_type",
            before=17,
            older_sql="""CASE WHEN relid IS NOT NULL THEN 'table synchronization'
                WHEN (pg_catalog.to_jsonb(pg_stat_subscription) ->> 'leader_pid'::text) IS NOT NULL
                THEN 'parallel apply' ELSE 'apply' END""",
        ),
    )
    leader_pid: int | None = attrs.field(default=None, metadata=column(since=16))
    relid: int | None
    """The table that it synchronizes."""
    received_lsn: LSN | None = attrs.field(metadata=column(sql="nullif(received_lsn, '0/0')"))
    """The position up to which it has received."""
    last_msg_send_time: datetime | None
    last_msg_receipt_time: datetime | None
    latest_end_lsn: LSN | None = attrs.field(metadata=column(sql="nullif(latest_end_lsn, '0/0')"))
    """The publisher's position in the last message that was reported back."""
    latest_end_time: datetime | None


WORKERS = View(
    SubscriptionWorker,
    """pg_stat_subscription WHERE subid = %s::oid AND pid IS NOT NULL
    ORDER BY relid NULLS FIRST, pid""",
)


class TableState(OpenEnum):
    """The synchronization state of a table."""

    INIT = "i"
    """Not started."""
    DATA_COPY = "d"
    """Its rows are being copied; or the copy failed, and will be retried."""
    FINISHED_COPY = "f"
    """The copy is complete (14 on)."""
    SYNCED = "s"
    """The copy has caught up with the changes made during it."""
    READY = "r"
    """The apply worker maintains the table."""


@attrs.frozen(kw_only=True)
class SubscribedTable(Record):
    """A table of a subscription.

    Source: pg_subscription_rel, and from 14 on pg_stat_progress_copy.
    """

    relid: int
    table: TableName
    state: TableState = attrs.field(converter=TableState)
    lsn: LSN | None
    """The publisher's position when the table became SYNCED or READY."""
    pid: int | None
    """The worker that is synchronizing it."""
    bytes_processed: int | None = None
    """The bytes that are copied; None if it is not being copied, and before 14."""
    tuples_processed: int | None = None
    """The rows that are copied."""


def subscribed_tables(major: int) -> str:
    """Return the statement for the tables of one subscription, by name."""
    progress = join = ""
    if has("subscription.copy_progress", major):
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
    """Return the row of one record of ``subscribed_tables``."""
    return SubscribedTable(table=table_in(record), **record)  # type: ignore[arg-type]


@attrs.frozen(kw_only=True)
class SubscriptionStats(Record):
    """The numbers of errors of a subscription's workers, and of their conflicts (18 on).

    A conflict that is an error counts in both. Changes that 15 to 17 skip are not counted.

    Source: pg_stat_subscription_stats (15 on).
    """

    apply_error_count: int
    sync_error_count: int = attrs.field(
        metadata=column(
            sql="(pg_catalog.to_jsonb(pg_stat_subscription_stats)"
            " ->> 'sync_table_error_count'::text)::bigint",
            before=19,
            older_sql="sync_error_count",
        )
    )
    """Errors while copying tables; sync_table_error_count in 19."""
    sync_seq_error_count: int | None = attrs.field(default=None, metadata=column(since=19))
    """Errors while synchronizing sequences."""
    confl_insert_exists: int | None = attrs.field(default=None, metadata=column(since=18))
    """The row to insert violated a unique key: an error."""
    confl_update_origin_differs: int | None = attrs.field(default=None, metadata=column(since=18))
    """Another origin had changed the row to update: it was still updated."""
    confl_update_exists: int | None = attrs.field(default=None, metadata=column(since=18))
    """The updated row violated a unique key: an error."""
    confl_update_missing: int | None = attrs.field(default=None, metadata=column(since=18))
    """The row to update did not exist: the change was skipped."""
    confl_delete_origin_differs: int | None = attrs.field(default=None, metadata=column(since=18))
    """Another origin had changed the row to delete: it was still deleted."""
    confl_delete_missing: int | None = attrs.field(default=None, metadata=column(since=18))
    """The row to delete did not exist: the change was skipped."""
    confl_multiple_unique_conflicts: int | None = attrs.field(
        default=None, metadata=column(since=18)
    )
    """The row violated several unique keys: an error."""
    confl_update_deleted: int | None = attrs.field(default=None, metadata=column(since=19))
    """The row to update had been deleted: the change was skipped."""
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
