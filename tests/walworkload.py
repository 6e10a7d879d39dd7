"""A workload that writes WAL records of nearly all kinds."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from pgreplkit.lab import Node

SETTINGS = {
    "wal_level": "logical",
    "max_prepared_transactions": "5",
    "track_commit_timestamp": "on",
    "wal_keep_segments": "200",
    "autovacuum": "off",
}

_TABLES = (
    "CREATE TABLE filled (id serial PRIMARY KEY, name text, number int, point point, words int[],"
    " ranged int4range)",
    "CREATE INDEX by_hash ON filled USING hash (name)",
    "CREATE INDEX by_gin ON filled USING gin (words)",
    "CREATE INDEX by_gist ON filled USING gist (ranged)",
    "CREATE INDEX by_spgist ON filled USING spgist (point)",
    "CREATE INDEX by_brin ON filled USING brin (number) WITH (pages_per_range = 1)",
)
_FILL = """INSERT INTO filled (name, number, point, words, ranged)
    SELECT md5(n::text) || n, n % 97, point(n, n % 13), ARRAY[n, n % 7, n % 101],
    int4range(n, n + 5) FROM generate_series(1, {rows}) AS n"""


def settings_for(major: int) -> dict[str, str]:
    """Return the settings that the workload needs on a major version."""
    settings = dict(SETTINGS)
    if major > 12:
        settings["wal_keep_size"] = "1GB"
        del settings["wal_keep_segments"]
    return settings


_DATABASES = (
    "DROP DATABASE IF EXISTS copied",
    "CREATE DATABASE copied",
    "DROP DATABASE copied",
)
_IMAGES_OFF = (
    "ALTER SYSTEM SET full_page_writes = off",
    "SELECT pg_reload_conf()",
)
_IMAGES_ON = (
    "ALTER SYSTEM RESET full_page_writes",
    "SELECT pg_reload_conf()",
    "CHECKPOINT",
)


def write_workload(
    node: Node, *, compression: str = "off", rows: int = 3000, is_small: bool = False
) -> dict[str, int]:
    """Write the workload to a primary; return the xids of its notable transactions.

    A small workload, which is recorded, has few page images and copies no database.
    """
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        connection.execute(f"SET wal_compression = '{compression}'".encode())
        statements = [*_statements(rows)]
        if is_small:
            statements.remove("CHECKPOINT")
            statements = [*_IMAGES_OFF, *statements, *_IMAGES_ON]
        else:
            statements += _DATABASES
        for statement in statements:
            connection.execute(statement.encode())
        return _transactions(connection)


def _statements(rows: int) -> Iterator[str]:
    yield "DROP TABLE IF EXISTS filled, wide, loaded, frozen CASCADE"
    yield from _TABLES
    yield _FILL.format(rows=rows)
    yield "CHECKPOINT"
    yield "UPDATE filled SET number = number + 1, name = name || 'x' WHERE id % 3 = 0"
    yield "UPDATE filled SET number = number + 1 WHERE id % 50 = 0"
    yield "DELETE FROM filled WHERE id % 5 = 0"
    yield "VACUUM (FREEZE) filled"
    yield _FILL.format(rows=rows // 2)
    yield "DELETE FROM filled WHERE id < 1000"
    yield "VACUUM filled"
    yield "CREATE TABLE wide (id int PRIMARY KEY, long text, packed text)"
    yield "ALTER TABLE wide ALTER long SET STORAGE EXTERNAL"
    yield (
        "INSERT INTO wide SELECT n, repeat(md5(n::text), 900), repeat('packed', 20000)"
        " FROM generate_series(1, 20) AS n"
    )
    yield "SELECT * FROM filled WHERE id = 1500 FOR UPDATE"
    yield "CLUSTER filled USING filled_pkey"
    yield "REINDEX TABLE filled"
    yield "ALTER TABLE wide ADD COLUMN more int DEFAULT 7"
    yield "CREATE TABLE loaded (LIKE filled)"
    yield "INSERT INTO loaded SELECT * FROM filled"
    yield "TRUNCATE loaded"
    yield "CREATE SEQUENCE IF NOT EXISTS counted"
    yield "SELECT nextval('counted') FROM generate_series(1, 100)"
    yield "SELECT pg_logical_emit_message(false, 'plain', 'not transactional')"
    yield "SELECT pg_logical_emit_message(true, 'bound', repeat('transactional ', 900))"
    yield "SELECT pg_create_restore_point('before the switch')"
    yield "SELECT pg_switch_wal()"


def _transactions(connection: psycopg.Connection) -> dict[str, int]:
    xids = {}

    def run(*statements: str, name: str = "") -> None:
        for statement in statements:
            connection.execute(statement.encode())
            if name and name not in xids and statement != "BEGIN":
                row = connection.execute("SELECT txid_current()").fetchone()
                xids[name] = row[0] % (1 << 32) if row else 0

    run("CREATE TABLE IF NOT EXISTS small (id int)", "DROP TABLE IF EXISTS doomed")
    insert = "INSERT INTO small VALUES (1)"
    run("BEGIN", insert, "SAVEPOINT a", insert, "SAVEPOINT b", insert, name="nested")
    run("RELEASE b", "ROLLBACK TO a", insert, "SAVEPOINT c", insert, "COMMIT")
    run("BEGIN", insert, name="many")
    for number in range(70):
        run(f"SAVEPOINT s{number}", insert)
    run("COMMIT")
    run("BEGIN", insert, name="aborted")
    run("ROLLBACK")
    run("BEGIN", insert, name="prepared")
    run("PREPARE TRANSACTION 'first one'", "COMMIT PREPARED 'first one'")
    run("BEGIN", insert, name="given up")
    run("PREPARE TRANSACTION 'second'", "ROLLBACK PREPARED 'second'")
    run("CREATE TABLE doomed (id int)", "DROP TABLE doomed")
    run("SELECT pg_replication_origin_create('feed')")
    run("SELECT pg_replication_origin_session_setup('feed')")
    run("BEGIN", insert, name="from origin")
    run("SELECT pg_replication_origin_xact_setup('0/ABCD', '2026-01-02 03:04:05+00')", "COMMIT")
    run("SELECT pg_replication_origin_session_reset()")
    run("SELECT pg_replication_origin_drop('feed')")
    run("CHECKPOINT", insert)
    return xids
