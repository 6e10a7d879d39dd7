"""The tables and columns that a snapshot copies, described as a stream describes them."""

from __future__ import annotations

from pgreplkit.catalog.features import has
from pgreplkit.catalog.view import ASKED_TABLES

ROW_SECURITY_OFF = "SET row_security = off"
"""As pg_dump does: a policy that would hide rows makes the server refuse the statement."""
FILTERED_TABLES = f"""
    SELECT nspname AS schema, relname AS name
    FROM {ASKED_TABLES}
    WHERE row_security_active(pg_class.oid)
    ORDER BY 1, 2
"""
"""The tables of which row security hides rows from the current role."""


def table_shape(major: int) -> str:
    """Return the statement for the columns of one table: one record without a name if it has none.

    Types from 10000 on come with their names, as pgoutput sends them: a domain with the
    name of its base type.
    """
    generated = "attgenerated <> ''" if has("table.generated", major) else "false"
    return f"""
        SELECT c.oid::bigint AS oid, relreplident::text AS identity,
            relkind = 'p' AS is_partitioned, attname AS name, {generated} AS is_generated,
            atttypid::bigint AS type_oid, atttypmod AS type_modifier,
            relreplident = 'f' OR attnum = ANY (coalesce(keys.numbers, '{{}}')) AS is_key,
            CASE WHEN atttypid >= 10000 THEN ARRAY[tn.nspname, t.typname]::text[] END AS own_type
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = relnamespace
        LEFT JOIN pg_attribute ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
        LEFT JOIN LATERAL (
            WITH RECURSIVE below AS (
                SELECT typname, typnamespace, typtype, typbasetype
                    FROM pg_type WHERE oid = atttypid
                UNION ALL
                SELECT b.typname, b.typnamespace, b.typtype, b.typbasetype
                    FROM below JOIN pg_type AS b ON b.oid = below.typbasetype)
            SELECT typname, typnamespace FROM below WHERE typtype <> 'd') AS t ON true
        LEFT JOIN pg_namespace AS tn ON tn.oid = t.typnamespace
        LEFT JOIN LATERAL (SELECT indkey::int2[] AS numbers FROM pg_index WHERE indrelid = c.oid
            AND CASE relreplident WHEN 'd' THEN indisprimary WHEN 'i' THEN indisreplident END
            LIMIT 1) AS keys ON true
        WHERE n.nspname = %s AND c.relname = %s
        ORDER BY attnum
    """


# The statements that copy a table; {} stand for identifiers.
ROWS = "SELECT {} FROM {}{}"
ONLY = "ONLY "
WHERE = " WHERE "
HAS_ROWS = """
    SELECT EXISTS (SELECT FROM ONLY {0}) OR (
        SELECT relkind = 'p' FROM pg_catalog.pg_class WHERE oid = {1}::regclass::oid
    ) AND EXISTS (SELECT FROM {0}) AS has_rows
"""
"""The rows of tables that inherit from it are not its own."""
COPY_OUT = "COPY ({}) TO STDOUT"
IMPORT_SNAPSHOT = "SET TRANSACTION SNAPSHOT {}"
BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
