"""Appliers and subscriptions of the publisher that may bring it the subscriber's changes."""

from __future__ import annotations

from pgreplkit.catalog.features import has

READABLE = """
    SELECT bool_and(pg_catalog.has_schema_privilege(relnamespace, 'USAGE')
        AND pg_catalog.has_table_privilege(c.oid, 'SELECT')) AS is_readable
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = relnamespace
    WHERE nspname = 'pgreplkit' AND relname = 'applier'
"""
"""NULL if there is no such table, and so no applier."""
APPLIERS = """
    SELECT name, resume = 'origin' AS has_origin, takes_all, flow
    FROM pgreplkit.applier WHERE system_id = %s ORDER BY name
"""
SENDERS = """
    SELECT slot_name::text AS slot, active AS is_active FROM pg_catalog.pg_replication_slots
    WHERE slot_name = ANY (%s::text[]) AND database = current_database() AND plugin = 'pgoutput'
"""
"""The slots of this database by which others stream its changes."""
SUBSCRIPTIONS_READABLE = """
    SELECT pg_catalog.has_column_privilege('pg_catalog.pg_subscription', 'oid', 'SELECT')
        AS is_readable,
        pg_catalog.has_column_privilege('pg_catalog.pg_subscription', 'subconninfo', 'SELECT')
        AS shows_connection
"""
"""Before 14, only superusers can read any of them."""


def subscriptions(major: int, *, shows_connection: bool) -> str:
    """Return the query for the database's enabled subscriptions, and for their tables."""
    takes_all = "suborigin <> 'none'" if has("subscription.origin", major) else "true"
    conninfo = "subconninfo" if shows_connection else "NULL"
    return f"""
        SELECT s.oid::bigint AS id, subname::text AS name, subslotname::text AS slot,
            {conninfo} AS conninfo, {takes_all} AS takes_all,
            ARRAY(SELECT ARRAY[nspname::text, relname::text]
                FROM pg_catalog.pg_subscription_rel
                JOIN pg_catalog.pg_class AS c ON c.oid = srrelid AND relkind <> 'S'
                JOIN pg_catalog.pg_namespace AS n ON n.oid = relnamespace
                WHERE srsubid = s.oid) AS tables
        FROM pg_catalog.pg_subscription AS s
        WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
            AND subenabled AND subslotname IS NOT NULL
        ORDER BY subname
    """
