"""A snapshot of the existing rows, then every change, without gap or overlap."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import cast

import psycopg
import pytest
from colours import Colour
from databases import Database
from running import in_thread
from tracebacks import printed

import pgreplkit
from pgreplkit import LSN
from pgreplkit.changes import Commit, Delete, Insert, SnapshotEnd, Update, dict_rows

pytestmark = pytest.mark.one_colour

Pairs = list[tuple[object, object]]


@pytest.fixture
def source(database: Database) -> Database:
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL)",
        'CREATE TABLE "Odd Name" (k text, v jsonb)',
        "CREATE TABLE unpublished (id int)",
        "INSERT INTO t SELECT i, 0 FROM generate_series(1, 5000) AS i",
        """INSERT INTO "Odd Name" VALUES ('a', '{"x": 1}'), (NULL, NULL)""",
        'CREATE PUBLICATION p FOR TABLE t, "Odd Name"',
    )
    return database


def slots(source: Database) -> list[object]:
    named = "SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()"
    return [name for (name,) in source.all(named)]


async def test_snapshot_and_changes_together_equal_the_table(
    source: Database, colour: Colour
) -> None:
    """Another client writes during the whole test."""
    ending = threading.Event()

    def write() -> None:
        with psycopg.connect(source.conninfo, autocommit=True) as writer:
            number = 5000
            while not ending.is_set():
                number += 1
                writer.execute("INSERT INTO t VALUES (%s, 1)", [number])
                writer.execute("UPDATE t SET n = n + 1 WHERE id = %s", [number % 5000 + 1])
                writer.execute("DELETE FROM t WHERE id = %s", [number - 4000])

    model: dict[object, object] = {}
    copied = 0
    options = {"publications": ["p"], "tables": ["t"], "timeout": 20}
    with in_thread(write, end=ending.set) as writing:
        async with await colour.primary(source.conninfo) as primary:
            stream = primary.snapshot_then_changes("s", **options)  # type: ignore[call-overload]
            async with stream:
                async for change in stream:
                    match change:
                        case Insert(new=row):
                            assert row["id"] not in model
                            model[row["id"]] = row["n"]
                        case Update(new=row):
                            assert row["id"] in model
                            model[row["id"]] = row["n"]
                        case Delete(old=row):
                            del model[row["id"]]
                        case SnapshotEnd():
                            copied = len(model)
                            ending.set()
                            writing.join()
                            end = LSN(str(source.one("SELECT pg_current_wal_lsn()::text")))
                            source.run("INSERT INTO t VALUES (0, 0)")
                        case Commit(end_lsn=lsn):
                            stream.acknowledge(lsn)
                            if copied and lsn > end:
                                break
    assert copied >= 5000
    assert model == dict(cast(Pairs, source.all("SELECT id, n FROM t")))
    assert slots(source) == ["s"]


async def test_the_snapshot_has_all_published_tables_columns_and_rows(
    source: Database, colour: Colour
) -> None:
    if source.node.major >= 15:
        source.run('ALTER PUBLICATION p SET TABLE t (id) WHERE (id > 4990), "Odd Name"')
    async with await colour.primary(source.conninfo) as primary:
        stream = primary.snapshot_then_changes(
            "s", publications=["p"], row_factory=dict_rows, timeout=10
        )
        rows: dict[str, list[dict[str, object]]] = {}
        async with stream:
            async for change in stream:
                if isinstance(change, SnapshotEnd):
                    break
                assert isinstance(change, Insert)
                assert change.xid == 0
                rows.setdefault(str(change.table), []).append(change.new)
    odd = [{"k": "a", "v": {"x": 1}}, {"k": None, "v": None}]
    assert rows.keys() == {"public.t", 'public."Odd Name"'}
    assert rows['public."Odd Name"'] == odd
    if source.node.major >= 15:
        assert rows["public.t"] == [{"id": i} for i in range(4991, 5001)]
    else:
        assert len(rows["public.t"]) == 5000
        assert rows["public.t"][0] == {"id": 1, "n": 0}


async def test_an_unfinished_snapshot_leaves_no_slot(source: Database, colour: Colour) -> None:
    async with await colour.primary(source.conninfo) as primary:
        stream = primary.snapshot_then_changes("s", publications=["p"], timeout=10)
        with contextlib.suppress(KeyError):
            async with stream:
                async for _ in stream:
                    assert slots(source) == ["s"]
                    raise KeyError
        assert slots(source) == []
        for wrong, kind in (
            ({"publications": ["no_such"]}, pgreplkit.errors.PublicationNotFound),
            ({"publications": ["p"], "tables": ["unpublished"]}, pgreplkit.errors.TableNotFound),
        ):
            with pytest.raises(kind):
                async with primary.snapshot_then_changes("s", **wrong):  # type: ignore[call-overload]
                    pass
            assert slots(source) == []
        source.run("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
        with pytest.raises(pgreplkit.errors.AlreadyExists):
            async with primary.snapshot_then_changes("s", publications=["p"]):
                pass
        # A slot that existed before is not dropped.
        assert slots(source) == ["s"]


async def test_waiting_for_an_open_transaction_times_out(source: Database, colour: Colour) -> None:
    with psycopg.connect(source.conninfo) as holder:
        holder.execute("SELECT txid_current()")
        async with await colour.primary(source.conninfo) as primary:
            with pytest.raises(pgreplkit.errors.StatementTimeout):
                async with primary.snapshot_then_changes("s", publications=["p"], slot_timeout=0.3):
                    pass
            assert slots(source) == []


async def test_a_row_that_cannot_be_loaded_ends_the_snapshot(
    source: Database, colour: Colour
) -> None:
    """Otherwise the rows after it would be missing, and only changes would follow."""

    def refusing(names: tuple[str, ...]) -> Callable[[tuple[object, ...]], object]:
        def make(values: tuple[object, ...]) -> object:
            if values[0] == 3:
                raise LookupError("refused")
            return values

        return make

    async with await colour.primary(source.conninfo) as primary:
        stream = primary.snapshot_then_changes(
            "s", publications=["p"], tables=["t"], row_factory=refusing, timeout=5
        )
        assert isinstance(await anext(stream), Insert)
        assert isinstance(await anext(stream), Insert)
        with pytest.raises(LookupError):
            await anext(stream)
        assert stream.is_closed
        assert slots(source) == []
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        source.run(
            "CREATE TABLE d (at date)",
            "INSERT INTO d VALUES ('infinity')",
            "ALTER PUBLICATION p ADD TABLE d",
        )
        rows = primary.snapshot_then_changes("s", publications=["p"], tables=["d"], timeout=5)
        with pytest.raises(pgreplkit.errors.ValueNotLoadable, match="infinity"):
            await anext(rows)
        assert slots(source) == []


@pytest.mark.pg(">=15")
async def test_a_row_filter_that_fails_shows_no_value(source: Database, colour: Colour) -> None:
    source.run(
        """TRUNCATE "Odd Name" """,
        """INSERT INTO "Odd Name" VALUES ('secret')""",
        """ALTER PUBLICATION p SET TABLE "Odd Name" WHERE (decode(k, k) IS NOT NULL)""",
    )
    async with await colour.primary(source.conninfo) as primary:
        rows = primary.snapshot_then_changes("s", publications=["p"], timeout=5)
        with pytest.raises(pgreplkit.errors.ServerError, match='encoding: "…"') as raised:
            await anext(rows)
        assert "secret" not in printed(raised.value)


async def test_whole_transactions_follow_the_rows(source: Database, colour: Colour) -> None:
    async with await colour.primary(source.conninfo) as primary:
        options = {"publications": ["p"], "tables": ["t"], "timeout": 20}
        stream = primary.snapshot_then_changes("s", **options)  # type: ignore[call-overload]
        async with stream:
            with pytest.raises(
                pgreplkit.errors.ServerError, match="the initial copy is not finished"
            ):
                stream.transactions()
            async for change in stream:
                if isinstance(change, SnapshotEnd):
                    break
            source.run("INSERT INTO t VALUES (0, 0)")
            transaction = await anext(stream.transactions())
            assert [change.new["id"] for change in transaction] == [0]


def test_another_thread_can_close_the_stream_between_rows(source: Database) -> None:
    source.run("INSERT INTO t SELECT i, 0 FROM generate_series(5001, 100000) AS i")
    with pgreplkit.Primary.connect(source.conninfo) as primary:
        stream = primary.snapshot_then_changes("s", publications=["p"])
        with stream:
            assert isinstance(next(stream), Insert)
            closing = threading.Thread(target=stream.close)
            closing.start()
            assert sum(1 for _ in stream) < 100_000
            closing.join(10)
            assert not closing.is_alive()
        assert stream.is_closed
    assert slots(source) == []


def test_another_thread_can_close_the_stream_while_it_waits_for_rows(source: Database) -> None:
    with (
        psycopg.connect(source.conninfo) as holder,
        pgreplkit.Primary.connect(source.conninfo) as primary,
        primary.snapshot_then_changes("s", publications=["p"]) as stream,
    ):
        holder.execute('LOCK TABLE t, "Odd Name"')
        closing = threading.Timer(0.2, stream.close)
        closing.start()
        assert [*stream] == []
        closing.join(10)
    assert slots(source) == []
