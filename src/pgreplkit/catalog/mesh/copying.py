"""The rows of a mesh that a new node copies, with the times of their last commits."""

# The rows of the donor, and where they are put; {} stand for columns, tables and times.
XACT_STAMP = "SELECT {}.pg_replication_origin_xact_setup('0/0', %s)"
"""Without a position: where the stream starts was stored before."""
OLD_ROWS = """
    SELECT {} FROM {}{} AS t WHERE coalesce(pg_catalog.pg_xact_commit_timestamp(t.xmin) <= {}, true)
"""
YOUNG_ROWS = """
    SELECT pg_catalog.pg_xact_commit_timestamp(t.xmin), ROW({}) FROM {}{} AS t
    WHERE pg_catalog.pg_xact_commit_timestamp(t.xmin) > {} AND {}
"""
YOUNG_TOMBSTONES = """
    SELECT pg_catalog.pg_xact_commit_timestamp(t.xmin), nspname, relname, key, is_late
    FROM pgreplkit.tombstone AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.relation
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE pg_catalog.pg_xact_commit_timestamp(t.xmin) > {} AND {}
"""
ANY_ORIGIN = "true"
_ORIGIN = """(
    SELECT o.roname FROM pg_catalog.pg_xact_commit_timestamp_origin(t.xmin) AS x
    LEFT JOIN pg_catalog.pg_replication_origin AS o ON o.roident = x.roident
)"""
IS_OF_ORIGIN = _ORIGIN + " = {}"
IS_OF_NO_ORIGIN = f"coalesce({_ORIGIN} <> ALL ({{}}), true)"
CREATE_ROW_TYPE = "CREATE TEMP TABLE pgreplkit_row AS SELECT {} FROM {} WITH NO DATA"
STAGE_ROWS = """
    CREATE TEMP TABLE pgreplkit_young
        (pgreplkit_at timestamptz, pgreplkit_row pg_temp.pgreplkit_row)
"""
"""One column for the whole row: a table has at most 1600 columns, so that no other may be added."""
STAGE_TOMBSTONES = """
    CREATE TEMP TABLE pgreplkit_young
        (pgreplkit_at timestamptz, schema text, name text, key jsonb, is_late boolean)
"""
COPY_STAGED = "COPY pg_temp.pgreplkit_young FROM STDIN"
STAGED_TIMES = "SELECT DISTINCT pgreplkit_at AS at FROM pg_temp.pgreplkit_young ORDER BY 1"
TAKE_ROWS = """
    INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE
    SELECT (pgreplkit_row).* FROM pg_temp.pgreplkit_young WHERE pgreplkit_at = {}
"""
TAKE_TOMBSTONES = """
    INSERT INTO pgreplkit.tombstone (relation, key, is_late)
    SELECT relation, key, is_late FROM pg_temp.pgreplkit_young,
        pg_catalog.to_regclass(pg_catalog.quote_ident(schema) || '.' ||
            pg_catalog.quote_ident(name)) AS relation
    WHERE pgreplkit_at = {} AND relation IS NOT NULL
    ON CONFLICT DO NOTHING
"""
POSITIONS = """
    SELECT name, position FROM pgreplkit.progress WHERE position > '0/0' AND name = ANY (%s)
"""
"""The positions that belong to the rows of the same snapshot, with delta columns."""
STAMPED_TABLES = """
    SELECT nspname AS schema, relname AS name FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid IN (SELECT relation FROM pgreplkit.stamp)
"""
STAMPS = """
    SELECT s.key, s.at, s.rank FROM pgreplkit.stamp AS s JOIN {}{} AS t
        ON s.relation::oid = {}::regclass::oid AND s.key = {} AND s.xid = t.xmin
"""
STAGE_STAMPS = "CREATE TEMP TABLE pgreplkit_young (key jsonb, at timestamptz, rank int)"
TAKE_STAMPS = """
    INSERT INTO pgreplkit.stamp (relation, key, xid, at, rank)
    SELECT {}::regclass, s.key, t.xmin, s.at, s.rank
    FROM pg_temp.pgreplkit_young AS s JOIN {}{} AS t ON s.key = {}
    ON CONFLICT (relation, key) DO UPDATE
        SET xid = EXCLUDED.xid, at = EXCLUDED.at, rank = EXCLUDED.rank
"""
INDEX_STAGED = "CREATE INDEX ON pg_temp.pgreplkit_young (pgreplkit_at)"
DROP_STAGED = "DROP TABLE pg_temp.pgreplkit_young"
DROP_ROW_TYPE = "DROP TABLE pg_temp.pgreplkit_row"
REMOVE_TOMBSTONES = (
    "DELETE FROM pgreplkit.tombstone WHERE relation = ANY (%s::regclass[]) RETURNING relation"
)
