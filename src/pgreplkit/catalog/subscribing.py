"""What is asked of a subscriber and of its publisher to find out why nothing moves."""

from __future__ import annotations

from datetime import timedelta

import attrs

from pgreplkit.catalog.view import View, lives
from pgreplkit.values.tablename import TableName


@attrs.frozen(kw_only=True)
class WorkerPool:
    """How many workers of logical replication a server has, and how many run."""

    running: int
    most: int
    most_processes: int


POOL = """
    SELECT (SELECT count(*) FROM pg_stat_subscription WHERE pid IS NOT NULL) AS running,
        current_setting('max_logical_replication_workers')::bigint AS most,
        current_setting('max_worker_processes')::bigint AS most_processes
"""
MISSING_TABLES = """
    SELECT asked.schema, asked.name FROM unnest(%s::text[], %s::text[]) AS asked (schema, name)
    WHERE NOT EXISTS (SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = asked.schema AND relname = asked.name AND relkind IN ('r', 'p'))
    ORDER BY 1, 2
"""
COPIED_NOW = """
    SELECT nspname AS schema, relname AS name FROM pg_subscription_rel
    JOIN pg_class ON pg_class.oid = srrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE srsubstate <> 'r'
"""
HAS_ROWS = "SELECT EXISTS (SELECT FROM {}) AS has_rows"

PUBLISHED = """
    SELECT pubname AS publication, schemaname AS schema, tablename AS name,
        has_table_privilege(
            concat(quote_ident(schemaname), '.', quote_ident(tablename)), 'SELECT') AS is_readable
    FROM pg_publication_tables WHERE pubname = ANY (%s::text[]) ORDER BY 2, 3
"""
PUBLICATION_NAMES = "SELECT pubname AS name FROM pg_publication WHERE pubname = ANY (%s::text[])"


@attrs.frozen(kw_only=True)
class OldTransaction:
    """A transaction that has an ID and is not over: a new slot waits until it is.

    Source: pg_stat_activity, pg_prepared_xacts.
    """

    __module__ = "pgreplkit"

    pid: int | None
    """None for a prepared one."""
    gid: str | None
    """The name of a prepared one."""
    user: str | None = attrs.field(metadata=lives(sql='"user"'))
    age: timedelta


OLD_TRANSACTIONS = View(
    OldTransaction,
    """(SELECT pid, NULL AS gid, usename AS user, clock_timestamp() - xact_start AS age
        FROM pg_stat_activity
        WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
        UNION ALL
        SELECT NULL, gid, owner, clock_timestamp() - prepared FROM pg_prepared_xacts) AS open
    ORDER BY age DESC""",
)


def forbidden_tables(major: int) -> str:
    """Tables of a subscription that its owner may not write, or not as their owner."""
    own = """NOT has_table_privilege(subowner, srrelid, 'INSERT')
        OR (relrowsecurity AND NOT rolbypassrls)"""
    if major >= 16:
        own = f"CASE WHEN subrunasowner THEN {own}"
        own += " ELSE NOT pg_has_role(subowner, relowner, 'MEMBER') END"
    return f"""
        SELECT nspname AS schema, relname AS name FROM pg_subscription_rel
        JOIN pg_subscription ON pg_subscription.oid = srsubid
        JOIN pg_class ON pg_class.oid = srrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        JOIN pg_roles ON pg_roles.oid = subowner
        WHERE srsubid = %s::oid AND NOT rolsuper AND ({own})
        ORDER BY 1, 2
    """


def table_named(record: dict[str, object]) -> TableName:
    """The table of a record with its schema and name."""
    return TableName(str(record["schema"]), str(record["name"]))
