"""The relations to which files belong."""

from __future__ import annotations

RELATION_NAMES = """
    SELECT file.number::int AS number, namespace.nspname AS schema, class.relname AS name
    FROM unnest(%s::oid[], %s::oid[], %s::oid[]) WITH ORDINALITY
        AS file(tablespace, database, file, number)
    JOIN pg_database AS own ON own.datname = current_database()
    JOIN pg_class AS class ON class.oid = pg_filenode_relation(file.tablespace, file.file)
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE file.database IN (0, own.oid)
"""
"""The names of files by tablespace, database and number, in the connected database."""
