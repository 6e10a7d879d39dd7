"""Tombstones: the deletions that a node remembers, and the objects that record them.

The xmin of a tombstone is its stamp: its commit time and its origin are those of the deletion, for
local deletions, whose commit time no trigger can know, as for those that an applier brings.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgreplkit._text import quote_identifier, quote_literal
from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical.applytables import PARTITIONS, TargetTable

CREATE_TOMBSTONES = """
    CREATE TABLE IF NOT EXISTS pgreplkit.tombstone (
        relation oid NOT NULL,
        key jsonb NOT NULL,
        xid bigint NOT NULL DEFAULT pg_catalog.txid_current(),
        is_late boolean NOT NULL DEFAULT false,
        PRIMARY KEY (relation, key)
    )
"""
"""``is_late``: the deletion found no row, so that one may have been inserted at the same time."""
CREATE_STAMPS = """
    CREATE TABLE IF NOT EXISTS pgreplkit.stamp (
        relation oid NOT NULL,
        key jsonb NOT NULL,
        xid xid NOT NULL,
        at timestamptz,
        rank int,
        PRIMARY KEY (relation, key)
    )
"""
"""The commit time and rank of rows that a change with an earlier time has written, to add its
differences. A stamp is valid for the row version with that xmin only."""
AGAIN = """
    CREATE OR REPLACE FUNCTION pgreplkit.again() RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'a row was inserted at the same time' USING ERRCODE = '40001';
    END $$
"""
"""Lets the applier try its transaction again."""
CREATE_LATE_INDEX = """
    CREATE INDEX IF NOT EXISTS tombstone_late ON pgreplkit.tombstone (relation, xid) WHERE is_late
"""
OUTLIVES = """
    CREATE OR REPLACE FUNCTION pgreplkit.outlives(oid, jsonb, timestamptz, int, text)
    RETURNS boolean LANGUAGE plpgsql VOLATILE AS
    $$ BEGIN
        -- Being volatile, it sees a deletion that was committed while the row was being written.
        IF NOT EXISTS (
            SELECT FROM pgreplkit.tombstone AS d WHERE d.relation = $1 AND d.key = $2 AND (
                $3 IS NULL OR pg_xact_commit_timestamp(d.xmin) > $3
                OR pg_xact_commit_timestamp(d.xmin) = $3
                    AND coalesce(pgreplkit.rank_of(d.xmin) > $4, true)
            )
        ) THEN
            RETURN true;
        END IF;
        EXECUTE $5 USING $2;
        RETURN false;
    END $$
"""
"""Returns whether a row that was just written is newer than the last deletion of its key; deletes
it if it is not. Arguments: the table, key, commit time and rank of the row, and its DELETE. Without
a time any deletion is newer."""
_RANK_OF = """
    CREATE OR REPLACE FUNCTION pgreplkit.rank_of(xid) RETURNS int LANGUAGE sql STABLE AS
    $$ {} $$
"""
_RANK = """
    SELECT coalesce(
        (current_setting('pgreplkit.ranks')::jsonb ->> coalesce(o.roname, ''))::int, -1
    ) FROM pg_xact_commit_timestamp_origin($1) AS c
    LEFT JOIN pg_replication_origin AS o ON o.roident = c.roident
"""


def rank_of(major: int) -> str:
    """Return the statement that creates the function for the rank of a transaction's origin."""
    return _RANK_OF.format(_RANK if has("commit.origin", major) else "SELECT NULL::int")


KEY_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
}
"""The settings with which keys are converted to JSON, in the applier as in the triggers."""
_PLAIN_TYPES = {16, 18, 19, 20, 21, 23, 25, 26, 1042, 1043, 1700, 2950}
"""Types whose JSON depends on no setting: changing the settings for each row takes time."""

TABLE_OID = "SELECT %s::regclass::oid::bigint AS oid"
TRIGGERS = f"""
    SELECT count(*) AS number, coalesce(bool_or(tgname = 'pgreplkit_no_reuse'), false) AS is_final
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_trigger ON tgrelid = c.oid
        OR tgname = 'pgreplkit_no_truncate' AND tgrelid IN (SELECT oid FROM ({PARTITIONS}) AS part)
    WHERE c.oid = %s::regclass::oid AND tgfoid = pg_catalog.to_regprocedure(%s)::oid
"""
"""Of their own function: the one in a restored dump has another table's OID."""
FINAL_TABLES = """
    SELECT nspname AS schema, relname AS name
    FROM pg_catalog.pg_trigger JOIN pg_catalog.pg_class AS c ON c.oid = tgrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = relnamespace
    WHERE tgname = 'pgreplkit_no_reuse'
        AND tgfoid = pg_catalog.to_regprocedure('pgreplkit.bury_' || c.oid || '()')::oid
"""
HAS_TOMBSTONES = "SELECT pg_catalog.to_regclass('pgreplkit.tombstone') IS NOT NULL AS has_table"
PRUNE_TOMBSTONES = """
    DELETE FROM pgreplkit.tombstone WHERE coalesce(
            pg_xact_commit_timestamp(xmin)
                < least(%s, (SELECT pg_catalog.min(commit_time) FROM pgreplkit.parked)),
            true)
        AND relation NOT IN (
            SELECT tgrelid FROM pg_catalog.pg_trigger WHERE tgname = 'pgreplkit_no_reuse'
        )
    RETURNING relation
"""
"""Where a deletion wins over every change, it is never forgotten. A parked transaction may be
applied later, and write a row that was deleted after it."""
FORGET_TOMBSTONES = "DELETE FROM pgreplkit.tombstone WHERE relation = %s RETURNING relation"
FORGET_STAMPS = "DELETE FROM pgreplkit.stamp WHERE relation = %s RETURNING relation"


def key_json(names: Sequence[str], row: str) -> str:
    """Return the expression for the key of a row."""
    return f"jsonb_build_array({', '.join(f'{row}.{quote_identifier(name)}' for name in names)})"


def bury_function(oid: int) -> str:
    """Return the signature of the function that all triggers of a table call."""
    return f"pgreplkit.bury_{oid}()"


_NO_REUSE = """
            IF TG_OP OPERATOR(pg_catalog.<>) 'DELETE' AND EXISTS (
                SELECT FROM pgreplkit.tombstone AS d WHERE d.relation OPERATOR(pg_catalog.=) {0}
                    AND d.key OPERATOR(pg_catalog.=) {1}
            ) THEN
                RAISE EXCEPTION 'could not use the key % of % again: it was deleted',
                    {1}, TG_RELID::pg_catalog.regclass
                    USING ERRCODE = 'unique_violation', HINT = 'Use another key.';
            END IF;"""


def _bury_body(oid: int, key: Sequence[str], *, is_final: bool) -> str:
    """Return the body of the function that all triggers of a table call, as a literal.

    It runs with the rights of its owner and the search_path of a client, who could otherwise put an
    operator or type of their own in place of the server's. To set search_path would take time for
    each row.
    """
    no_reuse = _NO_REUSE.format(oid, f"pg_catalog.{key_json(key, 'NEW')}") if is_final else ""
    # Quoted as a string: the name of a column may contain any delimiter.
    return quote_literal(
        f"""BEGIN
            IF TG_OP OPERATOR(pg_catalog.=) 'TRUNCATE' THEN
                IF TG_RELID OPERATOR(pg_catalog.<>) {oid} AND NOT EXISTS (
                    SELECT FROM pg_catalog.pg_inherits
                    WHERE inhrelid OPERATOR(pg_catalog.=) TG_RELID
                ) THEN
                    RETURN NULL;
                END IF;
                RAISE EXCEPTION 'could not truncate %: several nodes write it',
                    TG_RELID::pg_catalog.regclass
                    USING ERRCODE = 'feature_not_supported', HINT = 'Use DELETE.';
            END IF;
            IF TG_OP OPERATOR(pg_catalog.<>) 'INSERT' THEN
                INSERT INTO pgreplkit.tombstone (relation, key)
                VALUES ({oid}, pg_catalog.{key_json(key, "OLD")})
                ON CONFLICT ON CONSTRAINT tombstone_pkey
                DO UPDATE SET xid = EXCLUDED.xid, is_late = false;
            END IF;{no_reuse}
            RETURN NULL;
        END"""
    )


def create_triggers(
    table: TargetTable, key: Sequence[str], oid: int, *, is_final: bool
) -> list[str]:
    """Return the statements that let local writers leave tombstones, and that refuse TRUNCATE.

    With ``is_final`` they also refuse rows whose key was deleted before.
    """
    columns = [*filter(None, map(table.column, key))]
    is_plain = all(column.type_oid in _PLAIN_TYPES for column in columns)
    settings = "" if is_plain else " ".join(f"SET {n} = '{v}'" for n, v in KEY_SETTINGS.items())
    # No column of the key is NULL, and the operator may be outside of the search_path.
    same = " AND ".join(
        column.is_equal(*(f"{row}.{quote_identifier(column.name)}" for row in ("OLD", "NEW")))
        for column in columns
    )
    bury = bury_function(oid)
    own = str(table.table)
    each_row = f"ON {own} FOR EACH ROW"
    triggers = [
        ("bury", f"AFTER DELETE {each_row}", own),
        ("bury_key", f"AFTER UPDATE {each_row} WHEN (NOT ({same}))", own),
    ]
    # Partitions get the triggers for rows, but not those for statements.
    for each in (own, *table.partitions):
        triggers.append(("no_truncate", f"BEFORE TRUNCATE ON {each} FOR EACH STATEMENT", each))
    if is_final:
        triggers.append(("no_reuse", f"AFTER INSERT {each_row}", own))
    # Its owner may write tombstones, and the roles that delete rows need not.
    statements = [
        f"CREATE OR REPLACE FUNCTION {bury} RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
        f" {settings} AS {_bury_body(oid, key, is_final=is_final)}"
    ]
    for name, fires, owner in triggers:
        statements += [
            f"DROP TRIGGER IF EXISTS pgreplkit_{name} ON {owner}",
            f"CREATE TRIGGER pgreplkit_{name} {fires} EXECUTE PROCEDURE {bury}",
        ]
    return statements


def number_of_triggers(table: TargetTable, *, is_final: bool) -> int:
    """Return the number of triggers of a table, of which ``create_triggers`` creates each."""
    return (4 if is_final else 3) + len(table.partitions)


def drop_triggers(oid: int) -> str:
    """Return the statement that removes what ``create_triggers`` created.

    Only the owner of a table may drop its triggers; with their function they go, too.
    """
    return f"DROP FUNCTION IF EXISTS {bury_function(oid)} CASCADE"
