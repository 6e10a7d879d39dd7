"""SQL that shows on both servers why a subscription makes no progress."""

from __future__ import annotations

from datetime import timedelta

import attrs

from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical.subscription import SUBSCRIBED_TABLES
from pgreplkit.catalog.view import View, column


@attrs.frozen(kw_only=True)
class WorkerPool:
    """A server's limits for logical replication workers, and how many of each are in use."""

    running: int
    most: int
    most_copies: int
    """The limit of workers that copy tables of one subscription."""
    processes: int
    """The processes of any kind that count against max_worker_processes."""
    most_processes: int
    origins: int
    most_origins: int | None
    """None before 14, where copies have no origins."""
    origins_setting: str


def worker_pool(major: int) -> str:
    """Return the statement for a server's pool of workers."""
    # Before 18 the setting for slots limited the origins too.
    has_limit = has("subscription.origin_limit", major)
    limit = "max_active_replication_origins" if has_limit else "max_replication_slots"
    most_origins = "NULL::bigint"
    if has("subscription.copy_slots", major):
        most_origins = f"current_setting('{limit}')::bigint"
    return f"""
        SELECT (SELECT count(*) FROM pg_stat_subscription WHERE pid IS NOT NULL) AS running,
            current_setting('max_logical_replication_workers')::bigint AS most,
            current_setting('max_sync_workers_per_subscription')::bigint AS most_copies,
            (SELECT count(*) FROM pg_stat_activity WHERE backend_type NOT IN ('archiver',
                'autovacuum launcher', 'autovacuum worker', 'background writer', 'checkpointer',
                'client backend', 'io worker', 'slotsync worker', 'startup', 'walreceiver',
                'walsender', 'walsummarizer', 'walwriter')) AS processes,
            current_setting('max_worker_processes')::bigint AS most_processes,
            (SELECT count(*) FROM pg_replication_origin) AS origins,
            {most_origins} AS most_origins, '{limit}' AS origins_setting
    """


MISSING_TABLES = """
    SELECT asked.schema, asked.name FROM unnest(%s::text[], %s::text[]) AS asked (schema, name)
    WHERE NOT EXISTS (SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = asked.schema AND relname = asked.name AND relkind IN ('r', 'p'))
    ORDER BY 1, 2
"""
COPIED_NOW = f"""
    SELECT nspname AS schema, relname AS name FROM {SUBSCRIBED_TABLES} WHERE srsubstate <> 'r'
"""

MISSING_COLUMNS = """
    SELECT asked.schema, asked.name, pg_catalog.array_agg(DISTINCT asked.column) AS columns
    FROM unnest(%s::text[], %s::text[], %s::text[]) AS asked (schema, name, "column")
    JOIN pg_namespace ON nspname = asked.schema
    JOIN pg_class ON relnamespace = pg_namespace.oid AND relname = asked.name
        AND relkind IN ('r', 'p')
    WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid
        AND attname = asked.column AND attnum > 0 AND NOT attisdropped)
    GROUP BY 1, 2 ORDER BY 1, 2
"""
UNTAKEN_TABLES = """
    SELECT DISTINCT asked.schema, asked.name
    FROM unnest(%s::text[], %s::text[]) AS asked (schema, name)
    JOIN pg_namespace ON nspname = asked.schema
    JOIN pg_class ON relnamespace = pg_namespace.oid AND relname = asked.name
        AND relkind IN ('r', 'p')
    WHERE NOT EXISTS (SELECT FROM pg_subscription_rel
        WHERE srsubid = %s::oid AND srrelid = pg_class.oid)
    ORDER BY 1, 2
"""
"""Tables that exist on the subscriber, but not in the subscription."""


def published(major: int) -> str:
    """Return the statement for the tables of publications, with the columns that are sent."""
    # Generated columns exist since 12, and can be published since 18.
    can_send = has("publication.generated", major) or not has("table.generated", major)
    generated = "" if can_send else "AND attgenerated = ''"
    listed = "AND attname = ANY (attnames)" if has("publication.columns", major) else ""
    return f"""
        SELECT schemaname AS schema, tablename AS name,
            pg_catalog.has_schema_privilege(relnamespace, 'USAGE')
                AND pg_catalog.has_table_privilege(own.oid, 'SELECT') AS is_readable,
            ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = own.oid AND attnum > 0
                AND NOT attisdropped {generated} {listed}) AS columns
        FROM pg_publication_tables JOIN pg_namespace ON nspname = schemaname
        JOIN pg_class AS own ON relname = tablename AND relnamespace = pg_namespace.oid
        WHERE pubname = ANY (%s::text[]) ORDER BY 1, 2
    """


SLOTS_BEING_MADE = """
    SELECT slot_name::text AS name FROM pg_replication_slots
    WHERE confirmed_flush_lsn IS NULL AND slot_name::text ~ pg_catalog.concat('_', %s::oid,
        '_sync_')
"""
"""Slots for copies of a subscription; they have no position until transactions end."""
PLACES = """
    SELECT 'max_replication_slots' AS setting,
        current_setting('max_replication_slots')::bigint AS most,
        (SELECT count(*) FROM pg_replication_slots) AS used
    UNION ALL SELECT 'max_wal_senders', current_setting('max_wal_senders')::bigint,
        (SELECT count(*) FROM pg_stat_replication)
"""
PUBLICATION_NAMES = "SELECT pubname AS name FROM pg_publication WHERE pubname = ANY (%s::text[])"
ALL_PUBLICATION_NAMES = "SELECT pubname AS name FROM pg_publication"
OWN_SLOT_NAMES = """
    SELECT slot_name AS name FROM pg_replication_slots WHERE database = current_database()
"""


@attrs.frozen(kw_only=True)
class OldTransaction:
    """An open transaction with an ID; a new slot waits for its end.

    Source: pg_stat_activity, pg_prepared_xacts.
    """

    pid: int | None
    """None for a prepared transaction."""
    gid: str | None
    """The name of a prepared transaction; otherwise None."""
    user: str | None = attrs.field(metadata=column(sql='"user"'))
    age: timedelta

    def __str__(self) -> str:
        which = f"prepared transaction {self.gid!r}" if self.pid is None else f"process {self.pid}"
        return f"{which} of {self.user}, open for {self.age}"


OLD_TRANSACTIONS = View(
    OldTransaction,
    """(SELECT pid, NULL AS gid, usename AS user, clock_timestamp() - xact_start AS age
        FROM pg_stat_activity
        WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
        UNION ALL
        SELECT NULL, gid, owner, clock_timestamp() - prepared FROM pg_prepared_xacts) AS open
    ORDER BY age DESC""",
)


@attrs.frozen(kw_only=True)
class LockHolder:
    """A session of the subscriber, or a prepared transaction, for whose lock a worker waits."""

    pid: int
    """0 for a prepared transaction."""
    user: str | None
    state: str | None
    """None also if the role may not see it."""

    def __str__(self) -> str:
        if not self.pid:
            return "a prepared transaction"
        state = f", {self.state}" if self.state else ""
        return f"process {self.pid} of {self.user}{state}"


LOCK_HOLDERS = """
    SELECT DISTINCT holder AS pid, usename::text AS user, state
    FROM pg_stat_subscription AS waiting
    CROSS JOIN pg_catalog.unnest(pg_blocking_pids(waiting.pid)) AS holder
    LEFT JOIN pg_stat_activity ON pg_stat_activity.pid = holder
    WHERE subid = %s::oid
        -- Workers also wait for each other.
        AND holder NOT IN (SELECT pid FROM pg_stat_subscription WHERE pid IS NOT NULL)
    ORDER BY 1
"""


def forbidden_tables(major: int) -> str:
    """Return the statement for tables to which a subscription may not write.

    It writes as its owner, or as the table's owner.
    """
    forbidden = """NOT pg_catalog.has_table_privilege(subowner, srrelid, 'INSERT')
        OR (relrowsecurity AND NOT own.rolbypassrls)"""
    applied = f"NOT own.rolsuper AND ({forbidden})"
    if has("subscription.run_as_owner", major):
        # Row level security applies to a table's owner only where it is forced.
        applied = f"""CASE WHEN subrunasowner THEN {applied}
            ELSE NOT pg_catalog.pg_has_role(subowner, relowner, 'MEMBER') OR (relrowsecurity
                AND relforcerowsecurity AND NOT theirs.rolsuper AND NOT theirs.rolbypassrls) END"""
    return f"""
        SELECT nspname AS schema, relname AS name FROM {SUBSCRIBED_TABLES}
        JOIN pg_subscription ON pg_subscription.oid = srsubid
        JOIN pg_roles own ON own.oid = subowner
        JOIN pg_roles theirs ON theirs.oid = relowner
        WHERE srsubid = %s::oid AND ({applied})
        ORDER BY 1, 2
    """
