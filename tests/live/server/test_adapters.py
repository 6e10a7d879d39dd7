"""pg_lsn and psycopg: text and binary, arrays, COPY, and every kind of registration."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from clusters import Cluster
from hypothesis import HealthCheck, given, settings, strategies as st

import pgreplkit
from pgreplkit import LSN
from pgreplkit.testing.strategies import lsns

LSNS = [LSN(0), LSN(1), LSN("16/B374D848"), LSN("1/0"), LSN.MAX]


@pytest.fixture
def connection(cluster: Cluster) -> Iterator[psycopg.Connection]:
    with psycopg.connect(cluster.primary.conninfo) as connection:
        pgreplkit.register(connection)
        yield connection


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("lsn", LSNS)
def test_a_position_round_trips_through_the_server(
    connection: psycopg.Connection, lsn: LSN, binary: bool
) -> None:
    for placeholder in ("%s", "%t", "%b"):
        query = f"SELECT {placeholder}, {placeholder}::text, pg_typeof({placeholder})::text"
        row = connection.execute(query.encode(), [lsn] * 3, binary=binary).fetchone()
        assert row == (lsn, str(lsn), "pg_lsn")
        assert type(row[0]) is LSN


@pytest.mark.parametrize("binary", [False, True])
def test_null_is_none_and_arrays_are_nested_lists(
    connection: psycopg.Connection, binary: bool
) -> None:
    nested = [LSNS, LSNS[::-1]]
    for placeholder in ("%s", "%t", "%b"):
        query = f"SELECT NULL::pg_lsn, {placeholder}, pg_typeof({placeholder})::text"
        row = connection.execute(query.encode(), [nested, nested], binary=binary).fetchone()
        assert row == (None, nested, "pg_lsn[]")


@pytest.mark.parametrize("binary", [False, True])
def test_copy_reads_and_writes_positions(connection: psycopg.Connection, binary: bool) -> None:
    connection.execute("CREATE TEMP TABLE positions (number int4, lsn pg_lsn)")
    form = "(FORMAT binary)" if binary else ""
    cursor = connection.cursor()
    with cursor.copy(f"COPY positions FROM STDIN {form}".encode()) as copy:
        copy.set_types(["int4", "pg_lsn"])
        for number, lsn in enumerate(LSNS):
            copy.write_row((number, lsn))
    with cursor.copy(f"COPY positions TO STDOUT {form}".encode()) as copy:
        copy.set_types(["int4", "pg_lsn"])
        assert list(copy.rows()) == list(enumerate(LSNS))


def test_a_cursor_can_be_registered_alone(cluster: Cluster) -> None:
    with psycopg.connect(cluster.primary.conninfo) as plain:
        cursor = plain.cursor()
        pgreplkit.register(cursor)
        assert cursor.execute("SELECT '1/2'::pg_lsn").fetchone() == (LSN("1/2"),)
        assert plain.execute("SELECT '1/2'::pg_lsn").fetchone() == ("1/2",)


def test_an_adapters_map_can_be_registered(cluster: Cluster) -> None:
    adapters = psycopg.adapt.AdaptersMap(psycopg.adapters)
    pgreplkit.register(adapters)
    with psycopg.connect(cluster.primary.conninfo, context=adapters) as connection:
        assert connection.execute("SELECT '1/2'::pg_lsn").fetchone() == (LSN("1/2"),)


def test_importing_registers_nothing_globally(cluster: Cluster) -> None:
    with psycopg.connect(cluster.primary.conninfo) as plain:
        assert plain.execute("SELECT '1/2'::pg_lsn").fetchone() == ("1/2",)
        assert plain.execute("SELECT %s::bytea", [b"12345678"]).fetchone() == (b"12345678",)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(lsns(), min_size=1), binary=st.booleans())
def test_any_column_of_positions_loads(
    connection: psycopg.Connection, values: list[LSN], binary: bool
) -> None:
    query = "SELECT unnest(%s::pg_lsn[])"
    rows = connection.execute(query, [values], binary=binary).fetchall()
    assert rows == [(value,) for value in values]


def test_a_position_in_a_where_clause_compares_as_pg_lsn(connection: psycopg.Connection) -> None:
    query = "SELECT lsn FROM unnest(%s::pg_lsn[]) AS lsn WHERE lsn >= %s AND lsn - %s > 0"
    rows = connection.execute(query, [LSNS, LSN("1/0"), LSN(1)]).fetchall()
    assert rows == [(LSN("16/B374D848"),), (LSN("1/0"),), (LSN.MAX,)]
