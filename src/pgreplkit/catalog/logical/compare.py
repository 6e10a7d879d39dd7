"""What has to be known of a table to compare it, and how its values are written alike."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class ColumnShape:
    """A column of a table that is to be compared."""

    name: str
    type: str
    base_type: str
    """The type under a domain."""
    collation: str | None
    """The name and the version of its collation; None for a type that has none."""
    is_generated: bool


def columns_of(major: int) -> str:
    """The columns of one table."""
    generated = "attgenerated <> ''" if major >= 12 else "false"
    database = "datcollate" if major < 17 else "coalesce(datlocale, datcollate)"
    return f"""
        SELECT attname AS name, format_type(atttypid, atttypmod) AS type,
            format_type(coalesce(nullif(typbasetype, 0), atttypid), NULL) AS base_type,
            CASE WHEN attcollation = 0 THEN NULL
                ELSE concat(CASE collname WHEN 'default' THEN {database} ELSE collname END,
                    ' ', pg_collation_actual_version(attcollation)) END AS collation,
            {generated} AS is_generated
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
        JOIN pg_type ON pg_type.oid = atttypid
        JOIN pg_database ON datname = current_database()
        LEFT JOIN pg_collation ON pg_collation.oid = attcollation
        WHERE nspname = %s AND relname = %s AND relkind IN ('r', 'p')
        ORDER BY attnum
    """


def key_of(major: int) -> str:
    """The columns of a key of one table, all of them NOT NULL; the primary key if there is one."""
    keys = "indnkeyatts" if major >= 11 else "indnatts"
    return f"""
        SELECT ARRAY(
            SELECT attname::text FROM unnest(indkey::int2[]) WITH ORDINALITY k (number, place)
            JOIN pg_attribute ON attrelid = indrelid AND attnum = number
            WHERE place <= {keys} ORDER BY place) AS columns
        FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = %s AND relname = %s
            AND indisunique AND indimmediate AND indisvalid AND indpred IS NULL AND indexprs IS NULL
            AND NOT EXISTS (SELECT FROM unnest(indkey::int2[]) WITH ORDINALITY k (number, place)
                JOIN pg_attribute ON attrelid = indrelid AND attnum = number
                WHERE place <= {keys} AND NOT attnotnull)
        ORDER BY indisprimary DESC, indisreplident DESC, indexrelid LIMIT 1
    """


ESTIMATE = """
    SELECT greatest(0, sum(reltuples))::bigint AS rows
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    JOIN unnest(%s::text[], %s::text[]) AS asked (schema, name)
        ON nspname = asked.schema AND relname = asked.name
"""
WRITTEN_ALIKE = """
    SELECT set_config('extra_float_digits', '3', true), set_config('DateStyle', 'ISO, YMD', true),
        set_config('IntervalStyle', 'postgres', true), set_config('TimeZone', 'UTC', true),
        set_config('bytea_output', 'hex', true), set_config('xmloption', 'content', true),
        set_config('row_security', 'off', true)
"""
"""Until the transaction ends: whatever the session's settings are, a value has one text, and a
policy that would hide rows makes the server refuse the statement."""
