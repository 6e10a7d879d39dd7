"""The types of columns, as far as psycopg cannot know them: domains and enums."""

from __future__ import annotations

import attrs

CREATED_OIDS = 10_000
"""The first OID that is assigned when a cluster or a type is created: types before it are the same
in every server, and none of them is a domain or an enum."""

_RESOLVED = """
    WITH RECURSIVE resolved (type, base) AS (
        SELECT oid, oid FROM pg_catalog.pg_type WHERE {}
        UNION ALL
        SELECT type, typbasetype FROM resolved JOIN pg_catalog.pg_type ON oid = base
        WHERE typtype = 'd'
    )
    SELECT type::bigint AS oid, base::bigint AS base_oid, typtype = 'e' AS is_enum
    FROM resolved JOIN pg_catalog.pg_type ON oid = base WHERE typtype <> 'd'
"""
TYPES_OF_COLUMNS = _RESOLVED.format(
    "oid IN (SELECT atttypid FROM pg_catalog.pg_attribute WHERE atttypid >= 10000 AND attnum > 0)"
)
"""The created types of all columns of the database."""
TYPES_BY_OID = _RESOLVED.format("oid = ANY (%s::oid[])")
PUBLISHED_TYPES = """
    SELECT DISTINCT atttypid::bigint AS oid
    FROM pg_catalog.pg_publication_tables AS p
    JOIN pg_catalog.pg_namespace AS n ON n.nspname = p.schemaname
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = p.tablename
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped
    WHERE pubname = ANY (%s::text[])
"""
"""The types of the columns of published tables."""


@attrs.frozen
class ColumnType:
    """A type that was created in the database."""

    oid: int
    base_oid: int
    """The type below all domains; the type itself if it is not a domain.

    A query describes a column of a domain by it, a stream by the domain.
    """
    is_enum: bool
    """Whether the base type is an enum, whose binary form is its label."""
