"""Streams and snapshots load the values that a query of the same connection loads."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import psycopg
import pytest
from clusters import Cluster
from databases import Database
from psycopg.conninfo import make_conninfo
from psycopg.rows import scalar_row
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum

import pgreplkit
from pgreplkit import Primary
from pgreplkit.changes import UNCHANGED, Insert, Row, SnapshotEnd, Update
from pgreplkit.errors import ValueNotLoadable
from pgreplkit.lab import Node

How: TypeAlias = Literal["text", "binary", "snapshot"]
HOWS = ["text", "binary", "snapshot"]


@pytest.fixture
def primary(database: Database) -> Iterator[Primary]:
    with Primary.connect(database.conninfo) as primary:
        yield primary


def skip_without_binary(how: How, major: int) -> None:
    if how == "binary" and major < 14:
        pytest.skip("needs PostgreSQL 14")


def publish(primary: Primary, *tables: str) -> None:
    primary.create_publication("p", tables=tables)
    primary.create_logical_slot("s")


def inserted(
    primary: Primary, how: How, on_unloadable: Literal["raise", "text"] = "raise"
) -> list[Row]:
    """Return the rows that a snapshot, or the stream of the slot s, delivers."""
    if how == "snapshot":
        rows = primary.snapshot_then_changes(
            "copied", publications=["p"], on_unloadable=on_unloadable
        )
        found = []
        with rows:
            for change in rows:
                if isinstance(change, SnapshotEnd):
                    break
                assert isinstance(change, Insert)
                found.append(change.new)
        primary.slot("copied").drop()
        return found
    end = primary.wal_position().flush
    with primary.changes(
        "s", publications=["p"], stop_at=end, binary=how == "binary", on_unloadable=on_unloadable
    ) as stream:
        return [change.new for change in stream if isinstance(change, Insert)]


def queried(primary: Primary, table: str) -> tuple[object, ...]:
    [row] = primary.connection.execute(f"SELECT * FROM {table}".encode()).fetchall()
    assert isinstance(row, tuple)
    return row


DOMAINS = (
    "CREATE TYPE mood AS ENUM ('ok', 'not ok')",
    "CREATE TYPE pair AS (a int, b text)",
    "CREATE DOMAIN rating AS int CHECK (VALUE > 0)",
    "CREATE DOMAIN high AS rating CHECK (VALUE > 3)",
    "CREATE DOMAIN scores AS int[]",
    "CREATE DOMAIN feeling AS mood",
    "CREATE DOMAIN price AS numeric(10, 2)",
    "CREATE DOMAIN span AS int4range",
    """CREATE TABLE d (id high PRIMARY KEY, scores scores, ratings int[], feeling feeling,
        mood mood, moods mood[], couple pair, price price, span span, at timestamptz,
        standard information_schema.cardinal_number, money money, bits bit(3), spot point)""",
    """INSERT INTO d VALUES (4, '{1,2}', '{5,6}', 'not ok', 'ok', '{ok,"not ok"}', '(1,x)', 9.5,
        '[1,5)', '2024-05-06 07:08:09+00', 7, 1.5, '101', '(1,2)')""",
)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("registers", [False, True])
def test_values_of_domains_and_other_types_are_those_of_a_query(
    primary: Primary, major: int, how: How, registers: bool
) -> None:
    skip_without_binary(how, major)
    connection = primary.connection
    for statement in DOMAINS[:-1]:
        connection.execute(statement.encode())
    if major >= 11:
        connection.execute("CREATE DOMAIN pair_of_both AS pair CHECK ((VALUE).a IS NOT NULL)")
        connection.execute("ALTER TABLE d ALTER couple TYPE pair_of_both")
        connection.execute("ALTER TABLE d ALTER ratings TYPE rating[]")
    if registers:
        enum = EnumInfo.fetch(connection, "mood")
        composite = CompositeInfo.fetch(connection, "pair")
        assert enum
        assert composite
        register_enum(enum, connection)
        register_composite(composite, connection)
    publish(primary, "d")
    connection.execute(DOMAINS[-1].encode())
    expected = queried(primary, "d")
    assert expected[0] == 4
    assert [tuple(row) for row in inserted(primary, how)] == [expected]


@pytest.mark.parametrize("how", ["text", "binary"])
def test_a_domain_that_is_created_during_the_stream_is_loaded_as_its_base(
    primary: Primary, major: int, how: How
) -> None:
    skip_without_binary(how, major)
    connection = primary.connection
    connection.execute("CREATE TABLE t (id int PRIMARY KEY)")
    publish(primary, "t")
    stream = primary.changes("s", publications=["p"], timeout=20, binary=how == "binary")
    with stream:
        connection.execute("INSERT INTO t VALUES (1)")
        assert next(c.new["id"] for c in stream if isinstance(c, Insert)) == 1
        connection.execute("CREATE DOMAIN late AS date")
        connection.execute("ALTER TABLE t ADD day late")
        connection.execute("INSERT INTO t VALUES (2, '2024-05-06')")
        [row] = [next(c.new for c in stream if isinstance(c, Insert))]
        assert tuple(row) == (2, dt.date(2024, 5, 6))
        connection.execute("CREATE DOMAIN later AS late")
        connection.execute("ALTER TABLE t ADD other later DEFAULT '2024-05-07'")
        connection.execute("INSERT INTO t VALUES (3)")
        transaction = next(iter(stream))
        while not isinstance(transaction, Insert):
            transaction = next(stream)
        assert transaction.new["other"] == dt.date(2024, 5, 7)


UNLOADABLE = [
    ("interval", "178000000 years"),
    ("interval", "-178000000 years"),
    ("interval[]", "{1 day,178000000 years}"),
    ("date", "infinity"),
    ("date", "0044-03-15 BC"),
    ("timestamptz", "-infinity"),
    ("timestamp", "10000-01-01 00:00:00"),
    ("date[]", "{2024-01-01,infinity}"),
    ("daterange", "[2024-01-01,infinity)"),
    ("time", "24:00:00"),
]


@pytest.mark.parametrize("how", HOWS)
def test_a_value_that_python_cannot_hold_is_refused_or_kept_as_text(
    primary: Primary, major: int, how: How
) -> None:
    skip_without_binary(how, major)
    connection = primary.connection
    for type_name, text in UNLOADABLE:
        connection.execute(f"CREATE TABLE u (id int PRIMARY KEY, held {type_name}, n int)".encode())
        publish(primary, "u")
        # A prepared statement would be of the previous type.
        connection.execute("INSERT INTO u VALUES (1, %s, 2)", [text], prepare=False)
        cursor = connection.cursor(row_factory=scalar_row)
        sent: str = cursor.execute("SELECT held::text FROM u").fetchall()[0]
        with pytest.raises(ValueNotLoadable) as refused:
            inserted(primary, how)
        assert (refused.value.table, refused.value.column) == ("public.u", "held")
        if how != "binary":
            assert text.strip("{}[)-").split(",")[-1] in refused.value.value
        assert [tuple(row) for row in inserted(primary, how, "text")] == [(1, sent, 2)]
        primary.slot("s").drop()
        connection.execute("DROP PUBLICATION p")
        connection.execute("DROP TABLE u")


@pytest.mark.pg(">=17")
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("text", ["infinity", "-infinity"])
def test_an_infinite_interval_is_no_other_interval(primary: Primary, how: How, text: str) -> None:
    connection = primary.connection
    connection.execute("CREATE TABLE u (id int PRIMARY KEY, keep interval)")
    publish(primary, "u")
    connection.execute("INSERT INTO u VALUES (1, %s)", [text])
    with pytest.raises(ValueNotLoadable, match="infinite"):
        inserted(primary, how)
    assert [tuple(row) for row in inserted(primary, how, "text")] == [(1, text)]


@pytest.mark.parametrize("how", HOWS)
def test_intervals_that_python_can_hold_are_those_of_a_query(
    primary: Primary, major: int, how: How
) -> None:
    skip_without_binary(how, major)
    connection = primary.connection
    connection.execute("CREATE TABLE i (id int PRIMARY KEY, held interval)")
    publish(primary, "i")
    texts = ["1 mon", "-1 year -2 mons +3 days -04:05:06.7", "-00:00:00.000001", "2700000 years"]
    for number, text in enumerate(texts):
        connection.execute("INSERT INTO i VALUES (%s, %s)", [number, text])
    expected = connection.execute("SELECT * FROM i").fetchall()
    assert [tuple(row) for row in inserted(primary, how)] == expected


def test_a_loader_of_intervals_that_the_user_registered_is_used(primary: Primary) -> None:
    class Text(psycopg.adapt.Loader):
        def load(self, data: object) -> str:
            return bytes(data).decode()  # type: ignore[call-overload, no-any-return]

    connection = primary.connection
    connection.adapters.register_loader("interval", Text)
    connection.execute("CREATE TABLE i (id int PRIMARY KEY, held interval)")
    publish(primary, "i")
    connection.execute("INSERT INTO i VALUES (1, '178000000 years')")
    assert inserted(primary, "text")[0]["held"] == "178000000 years"


@pytest.mark.parametrize("how", ["text", "snapshot"])
@pytest.mark.parametrize(
    "json",
    [
        "('{\"a\": 1' || repeat('0', 5000) || '}')::jsonb",
        "(repeat('[', 3000) || repeat(']', 3000))",
    ],
)
def test_the_error_of_any_loader_names_the_column(primary: Primary, how: How, json: str) -> None:
    connection = primary.connection
    connection.execute("CREATE TABLE j (id int PRIMARY KEY, note text, val jsonb, more int)")
    publish(primary, "j")
    connection.execute(f"INSERT INTO j VALUES (1, 'x', {json}::jsonb, 2)".encode())
    with pytest.raises(ValueNotLoadable) as refused:
        inserted(primary, how)
    assert refused.value.column == "val"


def test_a_full_replica_identity_completes_the_new_row(primary: Primary) -> None:
    connection = primary.connection
    connection.execute("CREATE TABLE doc (id int PRIMARY KEY, n int, body text)")
    connection.execute("ALTER TABLE doc ALTER body SET STORAGE EXTERNAL")
    connection.execute("ALTER TABLE doc REPLICA IDENTITY FULL")
    publish(primary, "doc")
    connection.execute("INSERT INTO doc VALUES (1, 1, repeat('a', 5000))")
    connection.execute("UPDATE doc SET n = 2")
    end = primary.wal_position().flush
    with primary.changes("s", publications=["p"], stop_at=end) as stream:
        [update] = [change for change in stream if isinstance(change, Update)]
    assert update.old is not None
    assert tuple(update.old) == (1, 1, "a" * 5000)
    assert tuple(update.new) == (1, 2, "a" * 5000)


@pytest.mark.pg(">=14")
def test_a_large_value_of_the_key_completes_the_new_row(primary: Primary) -> None:
    connection = primary.connection
    connection.execute("CREATE TABLE doc (id text PRIMARY KEY, n int, body text)")
    for column in ("id", "body"):
        connection.execute(f"ALTER TABLE doc ALTER {column} SET STORAGE EXTERNAL".encode())
    publish(primary, "doc")
    key = "k" * 2500
    connection.execute("INSERT INTO doc VALUES (%s, 1, repeat('a', 5000))", [key])
    connection.execute("UPDATE doc SET n = 2")
    end = primary.wal_position().flush
    with primary.changes("s", publications=["p"], stop_at=end) as stream:
        [update] = [change for change in stream if isinstance(change, Update)]
    # The key did not change, and is sent as the old one because it is large.
    assert update.old is not None
    assert tuple(update.old) == (key,)
    assert tuple(update.new) == (key, 2, UNCHANGED)


@pytest.mark.parametrize("how", HOWS)
def test_a_table_without_columns_has_rows(primary: Primary, major: int, how: How) -> None:
    skip_without_binary(how, major)
    connection = primary.connection
    connection.execute("CREATE TABLE nocols (gone int)")
    connection.execute("ALTER TABLE nocols DROP COLUMN gone")
    connection.execute("CREATE PUBLICATION p FOR TABLE nocols")
    primary.create_logical_slot("s")
    connection.execute("INSERT INTO nocols DEFAULT VALUES")
    assert [tuple(row) for row in inserted(primary, how)] == [()]


LIMITS = {
    "statement_timeout": 10,
    "idle_in_transaction_session_timeout": 10,
    "lock_timeout": 10,
    "transaction_timeout": 17,
}


def test_time_limits_of_a_database_do_not_end_a_copy(
    database: Database, primary: Primary, major: int
) -> None:
    connection = primary.connection
    connection.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    connection.execute("INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series(1, 50000) i")
    primary.create_publication("p", tables=["t"])
    limits = [name for name, since in LIMITS.items() if major >= since]
    # In the session that began without limits: a busy server may need longer for the next one.
    for name in limits:
        connection.execute(f"ALTER DATABASE {database.name} SET {name} = '300ms'".encode())
    try:
        stream = primary.snapshot_then_changes("copied", publications=["p"])
        count = 0
        with stream:
            for change in stream:
                if isinstance(change, SnapshotEnd):
                    break
                count += 1
                if count == 1:
                    # Longer than the limits: the server waits for a slow client.
                    primary.connection.execute("SET statement_timeout = 0")
                    primary.connection.execute("SELECT pg_sleep(1)")
    finally:
        for name in limits:
            connection.execute(f"ALTER DATABASE {database.name} RESET {name}".encode())
    assert count == 50_000
    primary.slot("copied").drop()


@pytest.fixture
def ascii_database(cluster: Cluster) -> Iterator[Database]:
    with ascii_named("ascii_values", cluster.primary) as database:
        yield database


@contextmanager
def ascii_named(name: str, node: Node) -> Iterator[Database]:
    created = f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII'"
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        connection.execute(f"{created} LC_COLLATE 'C' LC_CTYPE 'C'".encode())
        yield Database(node, name)
        connection.execute(
            """SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
            WHERE database = %s""",
            [name],
        )
        connection.execute(f"DROP DATABASE {name}".encode())


ENCODINGS: list[tuple[str | None, object]] = [
    (None, b"caf\xe9"),
    ("SQL_ASCII", b"caf\xe9"),
    ("LATIN1", "café"),
    ("UTF8", None),
]


@pytest.mark.parametrize("how", ["text", "snapshot"])
def test_bytes_of_a_database_without_encoding_are_read_as_the_client_says(
    ascii_database: Database, how: How
) -> None:
    raw = make_conninfo(ascii_database.conninfo, client_encoding="SQL_ASCII")
    with psycopg.connect(raw, autocommit=True) as writer:
        writer.execute(b"CREATE TABLE t (id int PRIMARY KEY, v text)")
        writer.execute(b"CREATE PUBLICATION p FOR TABLE t")
        for encoding, expected in ENCODINGS:
            writer.execute(b"TRUNCATE t")
            options = {} if encoding is None else {"client_encoding": encoding}
            with Primary.connect(ascii_database.conninfo, **options) as primary:
                primary.create_logical_slot("s")
                writer.execute(b"INSERT INTO t VALUES (1, 'caf\xe9')")
                if expected is None:
                    # The server refuses to send bytes that are not of the chosen encoding.
                    with pytest.raises(pgreplkit.errors.ServerError, match="22021"):
                        inserted(primary, how)
                else:
                    [row] = inserted(primary, how)
                    assert tuple(row) == (1, expected)
                primary.slot("s").drop()
        writer.execute(b"DROP PUBLICATION p")
        writer.execute(b"DROP TABLE t")


def test_bytes_of_another_encoding_in_names_and_roles_are_escaped(
    ascii_database: Database,
) -> None:
    raw = make_conninfo(ascii_database.conninfo, client_encoding="SQL_ASCII")
    with psycopg.connect(raw, autocommit=True) as writer:
        writer.execute(b'CREATE ROLE "r\xe9plica" REPLICATION')
        try:
            with Primary.connect(ascii_database.conninfo) as primary:
                names = [role.rolname for role in primary.replication_roles()]
        finally:
            writer.execute(b'DROP ROLE "r\xe9plica"')
    assert "r\\xe9plica" in names


def test_names_of_another_encoding_can_be_used_in_that_encoding(ascii_database: Database) -> None:
    with ascii_named("ascii_copy", ascii_database.node) as copy:
        for database in (ascii_database, copy):
            raw = make_conninfo(database.conninfo, client_encoding="SQL_ASCII")
            with psycopg.connect(raw, autocommit=True) as writer:
                writer.execute(b'CREATE TABLE t ("\xe9t\xe9" int PRIMARY KEY)')
                writer.execute(b"CREATE PUBLICATION p FOR TABLE t")
                writer.execute(b"INSERT INTO t VALUES (1)")
        with (
            Primary.connect(ascii_database.conninfo, client_encoding="LATIN1") as primary,
            Primary.connect(copy.conninfo, client_encoding="LATIN1") as other,
        ):
            with primary.snapshot_then_changes("s", publications=["p"]) as stream:
                first = next(stream)
                assert isinstance(first, Insert)
                assert first.new["été"] == 1
            [progress] = pgreplkit.compare(primary, other, ["t"])
            assert progress.rows == 1
        with (
            Primary.connect(ascii_database.conninfo) as primary,
            Primary.connect(copy.conninfo) as other,
        ):
            refused = r"\\xe9t\\xe9 is not valid utf-8; connect with the encoding of the names"
            with pytest.raises(pgreplkit.errors.ServerError, match=refused):
                primary.snapshot_then_changes("s", publications=["p"]).__enter__()
            with pytest.raises(pgreplkit.errors.ServerError, match=refused):
                [*pgreplkit.compare(primary, other, ["t"])]


@pytest.mark.parametrize("given", ["options", "environment"])
def test_settings_of_the_user_hold_on_replication_connections(
    database: Database, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    conninfo, options = database.conninfo, "-c work_mem=7MB -c datestyle=SQL,DMY"
    if given == "options":
        conninfo = make_conninfo(conninfo, options=options)
    else:
        monkeypatch.setenv("PGOPTIONS", options)
    opened = pgreplkit.ReplicationConnection.connect(conninfo, database=database.name)
    with opened as connection:
        assert connection.show("work_mem") == "7MB"
        # Values are read exactly whatever the user's style.
        assert connection.show("DateStyle").startswith("ISO")
