"""Typed changes from a slot: messages, confirmed positions, and refused options."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import attrs
import psycopg
import pytest
from clusters import TIMEOUT, soon
from colours import Colour
from databases import Database
from psycopg.types.enum import EnumInfo, register_enum

import pgreplkit
from pgreplkit import LSN, AsyncPrimary
from pgreplkit.changes import (
    UNCHANGED,
    AsyncChangeStream,
    Begin,
    Change,
    Commit,
    Delete,
    Insert,
    Message,
    Origin,
    Row,
    Truncate,
    Update,
    class_rows,
)

pytestmark = pytest.mark.one_colour

CONFIRMED = """SELECT coalesce(confirmed_flush_lsn, '0/0')::text FROM pg_replication_slots
    WHERE slot_name = 's'"""
TABLE = "CREATE TABLE t (id int PRIMARY KEY, name text, big text)"


@pytest.fixture
def source(database: Database) -> Database:
    """A database with a table, published as p, and a slot s."""
    database.run(
        TABLE,
        "ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
        "CREATE PUBLICATION p FOR TABLE t",
        "SELECT pg_create_logical_replication_slot('s', 'pgoutput')",
    )
    return database


def confirmed(source: Database) -> LSN:
    return LSN(str(source.one(CONFIRMED)))


async def until_commit(stream: AsyncChangeStream[Row], count: int = 1) -> list[Change[Row]]:
    """Return the messages up to that many commits of non-empty transactions."""
    found: list[Change[Row]] = []
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        # On a busy machine a change may arrive after a test's short timeout.
        with contextlib.suppress(pgreplkit.errors.WaitTimeout):
            async for change in stream:
                if isinstance(change, Commit) and found and isinstance(found[-1], Begin):
                    found.pop()  # before 15 the server sends empty transactions
                    continue
                found.append(change)
                count -= isinstance(change, Commit)
                if not count:
                    return found
            raise AssertionError("the stream ended")
    raise AssertionError(f"the stream has only sent {found}")


async def drain(stream: AsyncChangeStream[Row], into: list[Change[Row]] | None = None) -> None:
    """Read and acknowledge changes until an error is raised."""
    async for change in stream:
        if into is not None:
            into.append(change)
        if isinstance(change, Commit):
            stream.acknowledge(change.end_lsn)


@contextlib.asynccontextmanager
async def streaming(
    source: Database, colour: Colour, **options: object
) -> AsyncIterator[tuple[AsyncPrimary, AsyncChangeStream[Row]]]:
    async with await colour.primary(source.conninfo) as primary:
        given = {"publications": ["p"], "timeout": 20.0, **options}
        async with primary.changes("s", **given) as stream:  # type: ignore[call-overload]
            yield primary, stream


async def test_every_kind_of_change_is_typed(source: Database, colour: Colour) -> None:
    major = source.node.major
    async with streaming(source, colour) as (_, stream):
        source.run(
            "INSERT INTO t VALUES (1, 'a', repeat('x', 5000))",
            "ANALYZE t",  # after which the server sends the table's description again
            "UPDATE t SET name = NULL",
            "UPDATE t SET id = 2",
            "DELETE FROM t",
            "TRUNCATE t CASCADE",
        )
        insert, update, keyed, delete = [
            change
            for change in await until_commit(stream, 4)
            if isinstance(change, Insert | Update | Delete)
        ]
        assert isinstance(insert, Insert)
        assert dict(insert.new) == {"id": 1, "name": "a", "big": "x" * 5000}
        assert isinstance(update, Update)
        assert (update.old, dict(update.new)) == (None, {"id": 1, "name": None, "big": UNCHANGED})
        assert isinstance(keyed, Update)
        assert (dict(keyed.old or {}), keyed.new["id"]) == ({"id": 1}, 2)
        assert isinstance(delete, Delete)
        assert dict(delete.old) == {"id": 2}
        assert insert.table == update.table
        assert insert.lsn < update.lsn < delete.lsn
        if major >= 11:
            begin, truncate, commit = await until_commit(stream)
            assert isinstance(truncate, Truncate)
            assert [str(table) for table in truncate.tables] == ["public.t"]
            assert truncate.cascade
            assert isinstance(begin, Begin)
            assert isinstance(commit, Commit)
            assert begin.commit_lsn == commit.commit_lsn < commit.end_lsn == stream.position
            assert abs((datetime.now(UTC) - commit.commit_time).total_seconds()) < 60
            assert begin.xid == truncate.xid


@pytest.mark.pg(">=10")
@pytest.mark.parametrize("binary", [False, True])
async def test_changes_are_decoded_by_the_definitions_of_their_time(
    source: Database, colour: Colour, binary: bool
) -> None:
    """The publication and the table are others when the stream begins."""
    source.run(
        "INSERT INTO t VALUES (1, 'a', 'x')",
        "ALTER TABLE t DROP big",
        "DROP PUBLICATION p",
        "CREATE PUBLICATION p FOR TABLE t",
        "INSERT INTO t VALUES (2, 'b')",
    )
    is_binary = binary and source.node.major >= 14
    async with streaming(source, colour, binary=is_binary) as (_, stream):
        changes = await until_commit(stream, 2)
    rows = [dict(change.new) for change in changes if isinstance(change, Insert)]
    assert rows == [{"id": 1, "name": "a", "big": "x"}, {"id": 2, "name": "b"}]


@pytest.mark.parametrize("binary", [False, True])
async def test_values_have_the_types_that_psycopg_returns(
    source: Database, colour: Colour, binary: bool
) -> None:
    if binary and source.node.major < 14:
        with pytest.raises(pgreplkit.errors.UnsupportedByServer, match="needs PostgreSQL 14"):
            async with streaming(source, colour, binary=True):
                pass
        return
    source.run(
        "CREATE TYPE mood AS ENUM ('ok', 'bad')",
        "CREATE TYPE pair AS (a int, b text)",
        """CREATE TABLE typed (id bigint PRIMARY KEY, n numeric, at timestamptz, d date, f float8,
            b bytea, j jsonb, tags text[], r int4range, u uuid, m mood, i interval, p pair,
            lsn pg_lsn, ok bool)""",
        "ALTER PUBLICATION p ADD TABLE typed",
    )
    values = """VALUES (1, 1.50, '2026-01-02 03:04:05.678+00', '2026-01-02', 0.1, '\\x00ff',
        '{"a": [1]}', '{x,NULL}', '[1,5)', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'ok',
        '1 day 02:00', ROW(1, 'x'), '1/2', true)"""
    async with streaming(source, colour, binary=binary) as (_, stream):
        source.run(f"INSERT INTO typed {values}")
        [insert] = [c for c in await until_commit(stream) if isinstance(c, Insert)]
    with psycopg.connect(source.conninfo) as connection:
        pgreplkit.register(connection)
        expected = connection.execute("SELECT * FROM typed").fetchone()
    assert tuple(insert.new) == expected
    assert insert.new["n"] == Decimal("1.50")
    assert insert.new["lsn"] == LSN("1/2")
    names = {str(c.type_name) for c in insert.table.columns if c.type_name}
    assert names == {"public.mood", "public.pair"}


async def test_registered_loaders_are_used(source: Database) -> None:
    source.run(
        "CREATE TYPE mood AS ENUM ('ok', 'bad')",
        "CREATE TABLE typed (m mood, ms mood[])",
        "ALTER PUBLICATION p ADD TABLE typed",
    )
    with pgreplkit.Primary.connect(source.conninfo) as primary:
        info = EnumInfo.fetch(primary.connection, "mood")
        assert info is not None
        register_enum(info, primary.connection)
        with primary.changes("s", publications=["p"], timeout=20) as stream:
            source.run("INSERT INTO typed VALUES ('ok', '{bad}')")
            insert = next(c for c in stream if isinstance(c, Insert))
    mood = info.enum
    assert mood is not None
    assert insert.new == (mood["ok"], [mood["bad"]])


async def test_a_row_factory_builds_the_rows(source: Database, colour: Colour) -> None:
    @attrs.frozen
    class User:
        id: int
        name: str
        big: str | None

    async with await colour.primary(source.conninfo) as primary:
        options = {"publications": ["p"], "row_factory": class_rows(User), "timeout": 20}
        async with primary.changes("s", **options) as stream:  # type: ignore[call-overload]
            source.run("INSERT INTO t VALUES (1, 'a', NULL)", "DELETE FROM t")
            found = await until_commit(stream, 2)
    [insert] = [change for change in found if isinstance(change, Insert)]
    [delete] = [change for change in found if isinstance(change, Delete)]
    made: object = insert.new
    assert made == User(1, "a", None)
    # A class may need more than the key.
    assert dict(delete.old) == {"id": 1}


async def test_only_acknowledged_changes_are_confirmed(source: Database, colour: Colour) -> None:
    before = confirmed(source)
    async with streaming(source, colour) as (_, stream):
        source.run("INSERT INTO t VALUES (1, 'a')", "INSERT INTO t VALUES (2, 'b')")
        ends = [c.end_lsn for c in await until_commit(stream, 2) if isinstance(c, Commit)]
        with pytest.raises(pgreplkit.errors.InvalidAcknowledgement):
            stream.acknowledge(ends[1] + 1)
    assert confirmed(source) <= ends[0]
    async with streaming(source, colour) as (_, stream):
        # Changes that were read and not acknowledged are sent again.
        again = [c.end_lsn for c in await until_commit(stream, 2) if isinstance(c, Commit)]
        assert again == ends
        stream.acknowledge(ends[0])
        assert stream.acknowledged == ends[0]

        async def confirmed_lsn() -> LSN:
            return confirmed(source)

        await soon(confirmed_lsn, lambda lsn: lsn >= ends[0])
        assert confirmed(source) == ends[0] > before
    with pytest.raises(pgreplkit.errors.StreamClosed):
        stream.acknowledge(ends[1])
    async with streaming(source, colour) as (_, stream):
        [_, insert, _] = await until_commit(stream)
        assert isinstance(insert, Insert)
        assert insert.new["id"] == 2


async def test_start_continues_at_the_position_that_the_client_stored(
    source: Database, colour: Colour
) -> None:
    async with streaming(source, colour) as (_, stream):
        source.run(*(f"INSERT INTO t VALUES ({i})" for i in range(4)))
        await until_commit(stream, 2)
        position = stream.position
    async with streaming(source, colour, start=position) as (_, stream):
        assert stream.position == position
        found = await until_commit(stream, 2)
    assert [c.new["id"] for c in found if isinstance(c, Insert)] == [2, 3]
    with pytest.raises(pgreplkit.errors.AheadOfServer, match="lost in a failover"):
        async with streaming(source, colour, start=position + (1 << 40)):
            pass


async def test_changes_are_acknowledged_automatically_only_on_request(
    source: Database, colour: Colour
) -> None:
    async with streaming(source, colour, auto_acknowledge=True, timeout=1) as (_, stream):
        source.run("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)")
        first, second = [c.end_lsn for c in await until_commit(stream, 2) if isinstance(c, Commit)]
        assert first <= stream.acknowledged < second
        with pytest.raises(pgreplkit.errors.WaitTimeout):
            await anext(stream)
        assert stream.acknowledged >= second


@pytest.mark.matrix
async def test_an_idle_stream_advances_the_slot(source: Database, colour: Colour) -> None:
    async def wal_passes(seconds: float, **options: object) -> bool:
        async with streaming(source, colour, timeout=0.2, **options) as (primary, stream):
            source.run("INSERT INTO u SELECT generate_series(1, 1000)")
            end = (await primary.wal_position()).flush
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                with pytest.raises(pgreplkit.errors.WaitTimeout):
                    await drain(stream)
                if confirmed(source) >= end:
                    return True
        return False

    source.run("CREATE TABLE u (id int)")
    if source.node.major >= 15:
        assert not await wal_passes(4, advance_when_idle=False)
    assert await wal_passes(TIMEOUT)


async def test_a_stream_stops_at_a_position(source: Database, colour: Colour) -> None:
    source.run("INSERT INTO t VALUES (1)")
    stop = LSN(str(source.one("SELECT pg_current_wal_lsn()::text")))
    source.run("INSERT INTO t VALUES (2)")
    for at, expected in ((stop, [1]), (stop + 1, [1, 2])):
        async with streaming(source, colour, stop_at=at) as (_, stream):
            found = [c.new["id"] async for c in stream if isinstance(c, Insert)]
            assert found[: len(expected)] == expected[: len(found)]
            assert stream.is_closed
            with pytest.raises(StopAsyncIteration):
                await anext(stream)


async def test_a_stream_continues_after_a_timeout(source: Database, colour: Colour) -> None:
    async with streaming(source, colour, timeout=1) as (_, stream):
        began = time.monotonic()
        with pytest.raises(pgreplkit.errors.WaitTimeout, match="after 1 s waiting for a change"):
            await drain(stream)
        assert 0.9 < time.monotonic() - began < 5
        source.run("INSERT INTO t VALUES (1)")
        assert [type(c) for c in await until_commit(stream)] == [Begin, Insert, Commit]


async def test_an_altered_table_is_streamed_with_its_new_columns(
    source: Database, colour: Colour
) -> None:
    async with streaming(source, colour) as (_, stream):
        source.run(
            "INSERT INTO t VALUES (1, 'a')",
            "ALTER TABLE t ADD more int, DROP big",
            "INSERT INTO t VALUES (2, 'b', 7)",
        )
        before, after = [c for c in await until_commit(stream, 2) if isinstance(c, Insert)]
    assert (before.new.keys(), after.new.keys()) == (("id", "name", "big"), ("id", "name", "more"))
    assert [c.name for c in before.table.columns] == ["id", "name", "big"]


@pytest.mark.pg(">=14")
async def test_logical_messages_are_streamed(source: Database, colour: Colour) -> None:
    async with streaming(source, colour) as (_, stream):
        source.run(
            "SELECT pg_logical_emit_message(false, 'alone', 'x')",
            "SELECT pg_logical_emit_message(true, 'within', '\\x00ff'::bytea)",
        )
        alone, begin, within, _ = await until_commit(stream)
        assert isinstance(alone, Message)
        assert (alone.prefix, alone.content, alone.transactional) == ("alone", b"x", False)
        assert isinstance(within, Message)
        assert isinstance(begin, Begin)
        assert (within.content, within.xid) == (b"\0\xff", begin.xid)
        stream.acknowledge(alone.end_lsn)
    async with streaming(source, colour) as (_, stream):
        assert isinstance((await until_commit(stream))[0], Begin)
    found: list[Change[Row]] = []
    async with streaming(source, colour, messages=False, timeout=0.3) as (_, stream):
        with pytest.raises(pgreplkit.errors.WaitTimeout):
            await drain(stream, found)
    assert not [change for change in found if isinstance(change, Message)]


async def test_replicated_transactions_have_their_origin(source: Database, colour: Colour) -> None:
    def write(id: int) -> None:
        with psycopg.connect(source.conninfo) as writer:
            writer.execute("SELECT pg_replication_origin_session_setup('elsewhere')")
            writer.execute("SELECT pg_replication_origin_xact_setup('0/77', now())")
            writer.execute("INSERT INTO t VALUES (%s)", [id])
            writer.commit()
            writer.execute("SELECT pg_replication_origin_session_reset()")

    source.run("SELECT pg_replication_origin_create('elsewhere')")
    try:
        async with streaming(source, colour) as (_, stream):
            write(1)
            found = await until_commit(stream)
            assert [type(change) for change in found] == [Begin, Origin, Insert, Commit]
            assert found[1] == Origin(LSN("0/77"), "elsewhere")
            stream.acknowledge(stream.position)
        if source.node.major >= 16:
            async with streaming(source, colour, origin="none") as (_, stream):
                write(2)
                source.run("INSERT INTO t VALUES (3)")
                found = await until_commit(stream)
            assert [c.new["id"] for c in found if isinstance(c, Insert)] == [3]
    finally:
        source.run("SELECT pg_replication_origin_drop('elsewhere')")


async def test_unsupported_options_are_refused_before_anything_is_sent(
    source: Database, colour: Colour
) -> None:
    since = {"streaming": ("on", 14), "two_phase": (True, 15), "origin": ("none", 16)}
    since["on_publication_gap"] = ("skip", 18)
    for option, (value, major) in since.items():
        if source.node.major < major:
            with pytest.raises(pgreplkit.errors.UnsupportedByServer):
                async with streaming(source, colour, **{option: value}):
                    pass


@pytest.mark.parametrize(
    "wrong",
    [
        *({"stop_at": "0/1"}, {"timeout": "1"}, {"timeout": -1}, {"status_interval": None}),
        *({"reconnect": True}, {"auto_acknowledge": 1}, {"advance_when_idle": None}),
        *({"binary": "yes"}, {"two_phase": None}, {"messages": "no"}, {"streaming": "some"}),
        *({"streaming": True}, {"origin": "mine"}, {"unknown": 1}, {"start": "0/1"}),
        *({"on_publication_gap": "pass"},),
    ],
    ids=str,
)
async def test_invalid_options_are_refused_before_connecting(
    wrong: dict[str, object], source: Database, colour: Colour
) -> None:
    async with await colour.primary(source.conninfo) as primary:
        options = {"publications": ["p"], **wrong}
        with pytest.raises((TypeError, ValueError), match=next(iter(wrong)) + "|an LSN"):
            primary.changes("s", **options)  # type: ignore[call-overload]


async def test_errors_name_the_cause(source: Database, colour: Colour) -> None:
    async with await colour.primary(source.conninfo) as primary:

        async def refused(kind: type[Exception], slot: str, **options: object) -> str:
            given = {"publications": ["p"], **options}
            with pytest.raises(kind) as caught:
                async with primary.changes(slot, **given):  # type: ignore[call-overload]
                    pass
            return str(caught.value)

        await refused(pgreplkit.errors.SlotNotFound, "no_such_slot")
        assert "no_such" in await refused(
            pgreplkit.errors.PublicationNotFound, "s", publications=["p", "no_such"]
        )
        await refused(TypeError, "s", publications="p")
        await refused(ValueError, "s", publications=[])
        await refused(TypeError, "s", start="0/5")
        await refused(pgreplkit.errors.InvalidSlotName, "S")
        await primary.create_physical_slot("bodily")
        assert "physical" in await refused(pgreplkit.errors.ServerError, "bodily")
        await (await primary.slot("bodily")).drop()
        async with primary.changes("s", publications=["p"]) as stream:
            text = await refused(pgreplkit.errors.SlotActive, "s")
            assert "used by process" in text
            source.run("INSERT INTO t VALUES (1)")
            await anext(stream)
            with pytest.raises(pgreplkit.errors.ServerError, match="another iterator"):
                await anext(stream.transactions())
    async with await colour.primary(source.node.conninfo) as elsewhere:
        with pytest.raises(pgreplkit.errors.ServerError, match="belongs to the database"):
            async with elsewhere.changes("s", publications=["p"]):
                pass


async def test_a_dropped_publication_raises_publication_not_found(
    source: Database, colour: Colour
) -> None:
    async with streaming(source, colour) as (_, stream):
        source.run("DROP PUBLICATION p", "INSERT INTO t VALUES (1)")
        with pytest.raises(pgreplkit.errors.PublicationNotFound):
            await drain(stream)
        # No change follows, so that none is acknowledged implicitly.
        with pytest.raises(pgreplkit.errors.PublicationNotFound):
            await anext(stream)


@pytest.mark.parametrize("suppressed", ["", "ALTER DATABASE {} SET client_min_messages = error"])
async def test_a_publication_that_did_not_exist_for_a_while_is_a_gap(
    source: Database, colour: Colour, suppressed: str
) -> None:
    if suppressed:
        source.run(suppressed.format(source.name))
    source.run(
        "INSERT INTO t VALUES (1)",
        "DROP PUBLICATION p",
        "INSERT INTO t VALUES (2)",
        "CREATE PUBLICATION p FOR TABLE t",
        "INSERT INTO t VALUES (3)",
    )
    is_gap = pytest.raises(pgreplkit.errors.PublicationGap, match="'p' did not exist")
    # Without acknowledging: before 15 also DROP PUBLICATION is a transaction to acknowledge.
    for _ in range(2):
        async with streaming(source, colour) as (_, stream):
            found = await until_commit(stream)
            assert [c.new["id"] for c in found if isinstance(c, Insert)] == [1]
            with is_gap:
                await until_commit(stream)
    if source.node.major >= 18:
        async with streaming(source, colour, on_publication_gap="skip") as (_, stream):
            found = await until_commit(stream, 2)
            assert [c.new["id"] for c in found if isinstance(c, Insert)] == [1, 3]
    # Nothing behind the gap is acknowledged.
    for _ in range(2):
        async with streaming(source, colour) as (_, stream):
            with is_gap:
                await drain(stream)


async def test_a_publication_that_no_change_has_missed_is_no_gap(
    source: Database, colour: Colour
) -> None:
    source.run(
        "INSERT INTO t VALUES (1)",
        "DROP PUBLICATION p",
        "CREATE PUBLICATION p FOR TABLE t",
        "ALTER PUBLICATION p RENAME TO q",
        "ALTER PUBLICATION q RENAME TO p",
        "ALTER PUBLICATION p SET (publish = 'insert')",
        "INSERT INTO t VALUES (2)",
    )
    async with streaming(source, colour) as (_, stream):
        found = [*await until_commit(stream), *await until_commit(stream)]
        assert [c.new["id"] for c in found if isinstance(c, Insert)] == [1, 2]


async def test_a_value_that_cannot_be_loaded_ends_the_stream(
    source: Database, colour: Colour
) -> None:
    source.run("CREATE TABLE days (d date)", "ALTER PUBLICATION p ADD TABLE days")
    async with streaming(source, colour) as (_, stream):
        source.run("INSERT INTO days VALUES ('infinity')", "INSERT INTO t VALUES (1)")
        with pytest.raises(
            pgreplkit.errors.ValueNotLoadable, match=r"public.days, column d: 'infinity'"
        ):
            await until_commit(stream)
        with pytest.raises(pgreplkit.errors.ValueNotLoadable):
            await anext(stream)
        assert stream.is_closed


async def test_a_slot_streams_changes(source: Database, colour: Colour) -> None:
    async with await colour.primary(source.conninfo) as primary:
        slot = await primary.slot("s")
        source.run("INSERT INTO t VALUES (1)")
        async with slot.changes(publications=["p"], timeout=20) as stream:
            assert len(await until_commit(stream)) == 3
            assert "of 's', at" in repr(stream)
        await slot.refresh()
        # The slot is free as soon as the stream is closed.
        assert not slot.state.active
        await slot.drop()


async def test_a_loop_opens_and_closes_the_stream(source: Database) -> None:
    source.run("INSERT INTO t VALUES (1)")
    stop = LSN(str(source.one("SELECT pg_current_wal_lsn()::text")))
    with pgreplkit.Primary.connect(source.conninfo) as primary:
        changes = [*primary.changes("s", publications=["p"], stop_at=stop, timeout=20)]
        assert [type(c) for c in changes if not isinstance(c, Begin | Commit)] == [Insert]
        assert not primary.slot("s").state.active
