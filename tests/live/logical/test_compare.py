"""compare finds every planted difference and no false one, also during writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import psycopg
import pytest
from clusters import Cluster
from colours import Colour, inner
from databases import Pair, both, granted, subscribed
from psycopg.conninfo import make_conninfo
from tracebacks import printed

import pgreplkit
from pgreplkit import AsyncPrimary, PublishedTable, SubscriptionOptions, TableName
from pgreplkit.lab import Node
from pgreplkit.rows import CompareProgress, DiffKind, RowDiff

pytestmark = pytest.mark.one_colour


async def compared(
    publisher: AsyncPrimary,
    subscriber: AsyncPrimary,
    *tables: str | PublishedTable,
    range_rows: int = 100,
) -> list[CompareProgress]:
    """Run a comparison with the servers' own colour."""
    chosen, here, there = tables or None, inner(publisher), inner(subscriber)
    if isinstance(here, pgreplkit.Server) and isinstance(there, pgreplkit.Server):
        return [*pgreplkit.compare(here, there, chosen, range_rows=range_rows, timeout=30)]
    found = pgreplkit.acompare(publisher, subscriber, chosen, range_rows=range_rows, timeout=30)
    return [progress async for progress in found]


def diffs(found: list[CompareProgress]) -> list[RowDiff]:
    return [diff for progress in found for diff in progress.diffs]


async def test_planted_differences_are_found(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        off = SubscriptionOptions(enabled=False)
        waiting = await subscribed(pair, subscriber, off)
        with pytest.raises(
            pgreplkit.errors.ServerError, match=r"public\.one, public\.two is not sync"
        ):
            await compared(publisher, subscriber)
        await waiting.drop()
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        same = await compared(publisher, subscriber)
        assert diffs(same) == []
        assert same[-1].rows_done == 1010
        assert (same[-1].tables_done, same[-1].tables) == (2, 2)
        assert [p.rows for p in same] == [100] * 10 + [0, 10]
        pair.subscriber.run(
            "DELETE FROM one WHERE id = 7",
            "UPDATE one SET name = NULL WHERE id = 500",
            "INSERT INTO one VALUES (-1, 'extra'), (5000, '')",
            "DELETE FROM two WHERE id = 10",
        )
        found = diffs(await compared(publisher, subscriber))
        reported = {(str(d.table), d.key["id"]): (d.kind, d.columns) for d in found}
        assert reported == {
            ("public.one", "-1"): (DiffKind.EXTRA, ()),
            ("public.one", "7"): (DiffKind.MISSING, ()),
            ("public.one", "500"): (DiffKind.DIFFERENT, ("name",)),
            ("public.one", "5000"): (DiffKind.EXTRA, ()),
            ("public.two", "10"): (DiffKind.MISSING, ()),
        }
        [changed] = [d for d in found if d.kind is DiffKind.DIFFERENT]
        assert changed.table == TableName("public", "one")
        assert changed.publisher == {"id": "500", "name": "name 500"}
        assert changed.subscriber == {"id": "500", "name": None}
        assert len(found) == len(reported)


@contextmanager
def repeating(pair: Pair, turn: Callable[[psycopg.Connection[Any], int], object]) -> Iterator[None]:
    """Call a function with a connection to the publisher until the block ends."""
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(pair.publisher.conninfo, autocommit=True) as connection:
            for number in count(1):
                if stop.is_set():
                    return
                turn(connection, number)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def write_once(connection: psycopg.Connection[Any], number: int) -> None:
    """Write to the first hundred rows of one table, and now and then to the other."""
    values = [f"turn {number}", number % 100]
    connection.execute("UPDATE one SET name = %s WHERE id = %s", values)
    if number % 10 == 0:
        connection.execute("INSERT INTO two VALUES (%s)", [number + 1000])


async def test_writes_during_a_comparison_are_no_differences(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        pair.subscriber.run(
            "UPDATE one SET name = 'odd' WHERE id = 300", "DELETE FROM two WHERE id = 1"
        )
        with repeating(pair, write_once):
            found = await compared(publisher, subscriber, "one", "two")
        reported = {(str(d.table), d.key["id"], d.kind) for d in diffs(found)}
        assert reported == {
            ("public.one", "300", DiffKind.DIFFERENT),
            ("public.two", "1", DiffKind.MISSING),
        }


async def test_every_type_is_compared_by_its_value(pair: Pair, colour: Colour) -> None:
    table = """CREATE TABLE typed (a text, b timestamptz, f float8, g float4, i interval, j jsonb,
        y bytea, n numeric, u uuid, fs float8[], p point, ps point[], PRIMARY KEY (a, b))"""
    values = """INSERT INTO typed SELECT chr(64 + n), now() + n * interval '1 day', 1 / 3.0 / n,
        n / 7.0, n * interval '1 hour', jsonb_build_object('n', n), decode('00ff', 'hex'),
        n / 3.0, md5(n::text)::uuid, ARRAY[n / 7.0, NULL], point(n / 7.0, n / 3.0),
        ARRAY[point(n / 7.0, n / 3.0)] FROM generate_series(1, 50) AS n"""
    for each in (pair.publisher, pair.subscriber):
        each.run(table)
    # A computed NaN has another sign bit than the NaN that the subscriber parses.
    nan = "'Infinity'::float8 - 'Infinity'::float8"
    computed = f"UPDATE typed SET f = {nan}, g = {nan}, fs[1] = {nan} WHERE a = 'C'"
    pair.publisher.run(values, computed, "ALTER PUBLICATION p ADD TABLE typed")
    # Before 12 the server copies floats with 15 digits unless extra_float_digits is set.
    pair.publisher.run(f"ALTER DATABASE {pair.publisher.name} SET extra_float_digits = 3")
    # Session settings must not change the result.
    pair.subscriber.run(
        f"ALTER DATABASE {pair.subscriber.name} SET TimeZone = 'Asia/Tokyo'",
        f"ALTER DATABASE {pair.subscriber.name} SET DateStyle = 'SQL, DMY'",
        f"ALTER DATABASE {pair.subscriber.name} SET bytea_output = 'escape'",
        f"ALTER DATABASE {pair.subscriber.name} SET extra_float_digits = 0",
        f"ALTER DATABASE {pair.subscriber.name} SET IntervalStyle = 'iso_8601'",
    )
    async with both(pair, colour) as (publisher, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        found = await compared(publisher, subscriber, "typed", range_rows=7)
        assert diffs(found) == []
        assert found[-1].rows_done == 50
        pair.subscriber.run("UPDATE typed SET f = f + 1e-16 * f WHERE a = 'B'")
        [diff] = diffs(await compared(publisher, subscriber, "typed", range_rows=7))
        assert diff.columns == ("f",)
        assert diff.key["a"] == "B"


@pytest.mark.pg(">=15")
async def test_only_published_tables_columns_and_rows_are_compared(
    pair: Pair, colour: Colour
) -> None:
    pair.publisher.run("ALTER PUBLICATION p SET TABLE one (id), two WHERE (id > 5)")
    async with both(pair, colour) as (publisher, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        found = await compared(publisher, subscriber)
        assert diffs(found) == []
        assert found[-1].rows_done == 1005
        chosen = PublishedTable("two", where="id IN (5, 6)")
        [diff] = diffs(await compared(publisher, subscriber, chosen))
        assert (diff.kind, diff.key) == (DiffKind.MISSING, {"id": "5"})


async def test_tables_that_cannot_be_compared_are_refused(
    pair: Pair, colour: Colour, cluster: Cluster
) -> None:
    for each in (pair.publisher, pair.subscriber):
        each.run("CREATE TABLE wide (id int PRIMARY KEY, name text)")
    pair.publisher.run("CREATE TABLE keyless (a int)", "CREATE TABLE there (a int PRIMARY KEY)")
    pair.subscriber.run("CREATE TABLE keyless (a int)", "ALTER TABLE one RENAME name TO other")
    async with both(pair, colour) as (publisher, subscriber):
        with pytest.raises(pgreplkit.errors.KeyMissing, match="no unique key"):
            await compared(publisher, subscriber, "keyless")
        with pytest.raises(pgreplkit.errors.TableNotFound, match="subscriber has no such table"):
            await compared(publisher, subscriber, "there")
        with pytest.raises(pgreplkit.errors.TableNotFound, match="columns name"):
            await compared(publisher, subscriber, "one")
        with pytest.raises(pgreplkit.errors.KeyMissing, match="not among"):
            await compared(publisher, subscriber, PublishedTable("wide", columns=["name"]))
        # Two databases without replication can be compared, too.
        found = await compared(publisher, subscriber, "two", range_rows=5)
        assert {d.kind for d in diffs(found)} == {DiffKind.MISSING}
        assert len(diffs(found)) == 10


async def test_a_filter_that_fails_shows_no_value_of_a_row(pair: Pair, colour: Colour) -> None:
    for each in (pair.publisher, pair.subscriber):
        each.run(
            "CREATE TABLE wide (id int PRIMARY KEY, name text)",
            "INSERT INTO wide VALUES (1, 'secret')",
        )
    async with both(pair, colour) as (publisher, subscriber):
        chosen = PublishedTable("wide", where="name::int > 5")
        with pytest.raises(pgreplkit.errors.ServerError, match='integer: "…"') as raised:
            await compared(publisher, subscriber, chosen)
        assert "secret" not in printed(raised.value)


async def test_duplicate_rows_of_the_subscriber_are_found(pair: Pair, colour: Colour) -> None:
    pair.subscriber.run("ALTER TABLE one DROP CONSTRAINT one_pkey")
    async with both(pair, colour) as (publisher, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        pair.subscriber.run("INSERT INTO one SELECT * FROM one WHERE id IN (4, 5)")
        found = diffs(await compared(publisher, subscriber, "one"))
        assert [(d.kind, d.key["id"]) for d in found] == [
            (DiffKind.REPEATED, "4"),
            (DiffKind.REPEATED, "5"),
        ]


async def test_rows_only_on_the_subscriber_are_read_in_batches(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        pair.subscriber.run("INSERT INTO two SELECT generate_series(11, 1010)")
        found = await compared(publisher, subscriber, "two")
        assert len(diffs(found)) == 1000
        assert {d.kind for d in diffs(found)} == {DiffKind.EXTRA}
        assert max(len(progress.diffs) for progress in found) <= 100
        assert (found[-1].rows_done, found[-1].tables_done) == (10, 1)


def come_and_go(connection: psycopg.Connection[Any], number: int) -> None:
    """Insert and delete a row, and switch another between two values."""
    connection.execute("INSERT INTO two VALUES (%s)", [number + 2000])
    connection.execute("UPDATE one SET name = 'fro' WHERE id = 1")
    connection.execute("DELETE FROM two WHERE id = %s", [number + 2000])
    connection.execute("UPDATE one SET name = 'to' WHERE id = 1")


async def test_short_lived_rows_are_no_differences(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        pair.subscriber.run("DELETE FROM two WHERE id = 1")
        with repeating(pair, come_and_go):
            for _ in range(5):
                [diff] = diffs(await compared(publisher, subscriber, "one", "two"))
                assert (diff.kind, diff.key) == (DiffKind.MISSING, {"id": "1"})


async def test_types_outside_the_search_path_are_compared(pair: Pair, colour: Colour) -> None:
    for each in (pair.publisher, pair.subscriber):
        each.run(
            "CREATE SCHEMA app",
            "CREATE TYPE app.mood AS ENUM ('sad', 'glad')",
            "CREATE TABLE app.parent (id int PRIMARY KEY)",
            "CREATE TABLE app.moods (mood app.mood, id int REFERENCES app.parent,"
            " which regclass DEFAULT 'app.parent', PRIMARY KEY (mood, id))",
            "CREATE INDEX ON app.moods ((mood = 'sad'::app.mood))",
        )
    pair.publisher.run(
        f"ALTER DATABASE {pair.publisher.name} SET search_path = app",
        "INSERT INTO app.parent SELECT generate_series(1, 30)",
        "INSERT INTO app.moods SELECT 'sad', generate_series(1, 30)",
        "ALTER PUBLICATION p ADD TABLE app.parent, app.moods",
    )
    async with both(pair, colour) as (publisher, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        found = await compared(publisher, subscriber, "app.moods", range_rows=7)
        assert (diffs(found), found[-1].rows_done) == ([], 30)
        here, there = inner(publisher), inner(subscriber)
        if isinstance(here, pgreplkit.Server) and isinstance(there, pgreplkit.Server):
            drift = pgreplkit.schema_drift(here, there, ["app.moods"])
        else:
            drift = await pgreplkit.aschema_drift(publisher, subscriber, ["app.moods"])
        assert drift.drifts == ()


async def test_a_key_is_sorted_by_its_column_whatever_its_name(pair: Pair, colour: Colour) -> None:
    """The output has columns key0 and key1, which a bare name in ORDER BY would mean."""
    for each in (pair.publisher, pair.subscriber):
        each.run("CREATE TABLE odd (key1 int, key0 int, PRIMARY KEY (key1, key0))")
    pair.publisher.run(
        "INSERT INTO odd SELECT i, 100 - i FROM generate_series(1, 30) AS i",
        "ALTER PUBLICATION p ADD TABLE odd",
    )
    async with both(pair, colour) as (publisher, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        found = await compared(publisher, subscriber, "odd", range_rows=7)
    assert diffs(found) == []
    assert [progress.rows for progress in found] == [7, 7, 7, 7, 2]


async def test_collations_of_one_name_that_sort_differently_are_not_taken_for_one(
    pair: Pair, colour: Colour
) -> None:
    try:
        for each, first in ((pair.publisher, "upper"), (pair.subscriber, "lower")):
            each.run(f"CREATE COLLATION sorted (provider = icu, locale = 'en-u-kf-{first}')")
            each.run("CREATE TYPE pair AS (word text COLLATE sorted, n int)")
            each.run("CREATE TABLE words (word text COLLATE sorted PRIMARY KEY)")
            each.run("CREATE TABLE pairs (pair pair PRIMARY KEY)")
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this server has no ICU")
    pair.publisher.run(
        "INSERT INTO words SELECT x FROM unnest(ARRAY['a', 'A', 'b', 'B', 'c', 'C']) AS x",
        "INSERT INTO pairs SELECT (word, 1)::pair FROM words",
        "ALTER PUBLICATION p ADD TABLE words, pairs",
    )
    async with both(pair, colour) as (publisher, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        found = await compared(publisher, subscriber, "words", range_rows=1)
        assert diffs(found) == []
        assert [progress.rows for progress in found][:6] == [1] * 6
        assert diffs(await compared(publisher, subscriber, "pairs", range_rows=1)) == []


@contextmanager
def encoded(node: Node, encoding: str, *words: bytes) -> Iterator[str]:
    """A database of an encoding with a table of words; its connection string."""
    name = f"encoded_{encoding.lower()}"
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        options = f"ENCODING {encoding} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        connection.execute(f"CREATE DATABASE {name} {options}".encode())
        try:
            conninfo = make_conninfo(node.conninfo, dbname=name)
            with psycopg.connect(conninfo, client_encoding=encoding) as inside:
                inside.execute("CREATE TABLE words (word text PRIMARY KEY, again text)")
                for word in words:
                    inside.execute(b"INSERT INTO words VALUES ('%b', '%b')" % (word, word))
            yield conninfo
        finally:
            connection.execute(f"DROP DATABASE {name}".encode())


async def test_texts_of_databases_with_other_encodings_are_compared(
    cluster: Cluster, colour: Colour
) -> None:
    # In WIN1251 the bytes of these words sort in another order than in UTF-8.
    words = ["\u0436", "\u0451", "\u2116", "\u0402", "z"]
    node = cluster.primary
    with (
        encoded(node, "WIN1251", *(word.encode("cp1251") for word in words)) as old,
        encoded(node, "UTF8", *(word.encode() for word in words)) as new,
        encoded(node, "SQL_ASCII", *(word.encode() for word in words[:3]), b"z\xe9") as any_bytes,
    ):
        async with (
            await colour.primary(old) as publisher,
            await colour.primary(new) as subscriber,
            await colour.primary(any_bytes) as bytes_of_any,
        ):
            assert diffs(await compared(publisher, subscriber, "words", range_rows=2)) == []
            # Bytes that are not valid in any encoding are found, and not left out.
            found = diffs(await compared(bytes_of_any, subscriber, "words", range_rows=2))
    assert {(d.kind, d.key["word"]) for d in found} == {
        (DiffKind.MISSING, r"z\xe9"),
        (DiffKind.EXTRA, "\u0402"),
        (DiffKind.EXTRA, "z"),
    }


@pytest.mark.matrix
async def test_the_named_grants_are_enough_where_the_schema_is_revoked(
    pair: Pair, colour: Colour
) -> None:
    for database in (pair.publisher, pair.subscriber):
        database.run("REVOKE ALL ON SCHEMA public FROM public")
    pair.subscriber.run(
        "INSERT INTO one VALUES (7, 'extra')",
        "GRANT SELECT ON pg_subscription TO stranger",  # which only 10 withholds
    )
    try:
        async with (
            await colour.primary(pair.publisher.as_role("stranger")) as publisher,
            await colour.primary(pair.subscriber.as_role("stranger")) as subscriber,
        ):
            for database in (pair.publisher, pair.subscriber):
                with pytest.raises(pgreplkit.errors.InsufficientPrivilege) as refused:
                    await compared(publisher, subscriber, "one")
                database.run(*granted(refused.value))
            assert len(diffs(await compared(publisher, subscriber, "one"))) == 1000
    finally:
        # The catalog outlives what the test has created.
        pair.subscriber.run("REVOKE SELECT ON pg_subscription FROM stranger")
