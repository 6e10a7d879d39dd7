"""Settings that roles have for their clients change nothing that an applier does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clusters import Cluster
from databases import Database, Pair, end, publishing
from psycopg.conninfo import make_conninfo

from pgreplkit import ReplicationConnection
from pgreplkit.apply import Applier

pytestmark = [pytest.mark.one_colour, pytest.mark.pg(">=10")]
COLUMNS = """id int PRIMARY KEY, number numeric, price money, span interval, at timestamptz,
    bytes bytea, tags text[], slot tstzrange, f float8, mark text, refers regclass"""
ROW = """(0.1::float8 + 0.2::float8)::numeric, '1234.56', '-1 days -02:03:04.5',
    '2024-02-03 04:05:06+00', '\\x005c', '{a,NULL,"NULL"}', '[2024-01-02 00:00+00,)',
    0.1::float8 + 0.2::float8, 'it''s \\ €', 't'"""
TEXTS = "SELECT set_config('extra_float_digits', '3', true), t::text FROM t ORDER BY id"
SETTINGS = {
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "search_path": "shadows, pg_catalog",
    "datestyle": "'SQL, DMY'",
    "intervalstyle": "sql_standard",
    "timezone": "'Asia/Kolkata'",
    "bytea_output": "escape",
    "extra_float_digits": "'-15'",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "xmloption": "document",
    "quote_all_identifiers": "on",
    "synchronous_commit": "off",
    "transform_null_equals": "on",
    "enable_indexscan": "off",
    "enable_nestloop": "off",
    "exit_on_error": "on",
    "client_min_messages": "debug1",
}
SHADOWS = (
    "CREATE SCHEMA shadows",
    "CREATE FUNCTION shadows.pg_backend_pid() RETURNS int LANGUAGE sql AS 'SELECT 7'",
    "CREATE FUNCTION shadows.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT true'",
    "CREATE FUNCTION shadows.set_config(text, text, bool) RETURNS text LANGUAGE sql"
    " AS 'SELECT NULL::text'",
    "CREATE FUNCTION shadows.never(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT false'",
    "CREATE OPERATOR shadows.= (leftarg = oid, rightarg = oid, procedure = shadows.never)",
    "CREATE VIEW shadows.pg_class AS SELECT 1 AS oid",
)


@pytest.fixture
def two(cluster: Cluster) -> Iterator[Pair]:
    with publishing(cluster.primary, f"CREATE TABLE t ({COLUMNS})") as pair:
        pair.publisher.run("CREATE ROLE client SUPERUSER LOGIN PASSWORD 'client'")
        yield pair
        for each in (pair.publisher, pair.subscriber):
            each.run("DROP OWNED BY client CASCADE")
        pair.publisher.run("DROP ROLE client")


def as_client(database: Database) -> str:
    return make_conninfo(database.conninfo, user="client", password="client")


def insert(number: int) -> str:
    return f"INSERT INTO t VALUES ({number}, {ROW})"


def insist_on_same_rows(pair: Pair) -> None:
    assert pair.subscriber.all(TEXTS) == pair.publisher.all(TEXTS)


@pytest.mark.parametrize("side", ["publisher", "subscriber"])
def test_no_setting_of_a_role_changes_values_or_stops_an_applier(two: Pair, side: str) -> None:
    configured: Database = getattr(two, side)
    configured.run(*SHADOWS)
    for name, value in SETTINGS.items():
        configured.run(f"ALTER ROLE client IN DATABASE {configured.name} SET {name} = {value}")
    servers = as_client(two.publisher), as_client(two.subscriber)
    one = Applier(*servers, "one", publications=["p"], on_error="park")
    two.publisher.run(insert(1), insert(2))
    assert one.check().is_ready
    one.run(stop_at=end(two.publisher), timeout=20)
    insist_on_same_rows(two)
    two.publisher.run(
        insert(3),
        "UPDATE t SET span = span * 2, f = f / 3, tags = '{NULL}' WHERE id = 1",
        "UPDATE t SET id = 20 WHERE id = 2",
        "DELETE FROM t WHERE id = 3",
    )
    report = one.run(stop_at=end(two.publisher), timeout=20)
    assert not report.conflicts
    insist_on_same_rows(two)
    # A change that is refused ends neither session, and is applied later.
    two.subscriber.run("ALTER TABLE t ADD CONSTRAINT few CHECK (id < 30)")
    two.publisher.run(insert(31))
    assert one.run(stop_at=end(two.publisher), timeout=20).parked == 1
    [parked] = one.parked()
    assert one.show_parked(parked)
    two.subscriber.run("ALTER TABLE t DROP CONSTRAINT few")
    one.apply_parked(parked)
    insist_on_same_rows(two)
    one.drop()


def test_a_session_that_streams_has_none_of_the_time_limits_of_a_role(two: Pair) -> None:
    publisher = two.publisher
    publisher.run(f"ALTER ROLE client IN DATABASE {publisher.name} SET statement_timeout = '1min'")
    with ReplicationConnection.connect(as_client(publisher), database=publisher.name) as session:
        # It looks up the types of all columns before it streams.
        assert session.show("statement_timeout") == "0"
