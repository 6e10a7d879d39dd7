"""Slots: their state, the WAL that they retain, and operations on them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from itertools import count

import psycopg
import pytest
from clusters import (
    SLOT,
    Cluster,
    conninfo_as,
    one,
    reads_twice,
    rows,
    run,
    streaming,
    wait_until,
)
from colours import Colour, close, execute

import pgreplkit
from pgreplkit import LSN
from pgreplkit.rows import SlotChange, SlotType, WalStatus

numbers = count(1)


@pytest.fixture
def name(cluster: Cluster) -> Iterator[str]:
    """A name that no slot has; slots of names that begin with it are dropped in the end."""
    name = f"test_{next(numbers)}_"
    yield name
    for node in (cluster.primary, cluster.standby):
        run(
            node,
            f"""SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
            WHERE slot_name ~ '^{name}' AND NOT temporary""",
        )


def write(cluster: Cluster, size: int = 1) -> LSN:
    """Commit that many bytes; return the position afterwards."""
    sql = f"SELECT pg_logical_emit_message(true, 'x', repeat('x', {size}))::text"
    run(cluster.primary, sql)
    return LSN(str(one(cluster.primary, "SELECT pg_current_wal_flush_lsn()::text")))


def table(cluster: Cluster, name: str) -> dict[str, str]:
    """Create a table and its publication; return the options of pgoutput for it."""
    run(cluster.primary, f"CREATE TABLE {name}t (a int)")
    run(cluster.primary, f"CREATE PUBLICATION {name}p FOR TABLE {name}t")
    return {"proto_version": "1", "publication_names": f"{name}p"}


@reads_twice
async def test_a_slot_has_every_column_of_its_major(cluster: Cluster, colour: Colour) -> None:
    cluster.catch_up()
    async with await colour.primary(cluster.primary.conninfo) as primary:
        slot = await primary.slot(SLOT)
    [row] = rows(cluster.primary, f"SELECT * FROM pg_replication_slots WHERE slot_name = '{SLOT}'")
    row = {c: LSN(v) if c.endswith("_lsn") and v else v for c, v in row.items()}
    assert {column: getattr(slot.state, column) for column in row} == row
    assert (slot.state.wal_status is None) == (cluster.major < 13)
    assert isinstance(slot.state.observed_at, datetime)
    assert slot.name == SLOT
    assert repr(slot).startswith(("<Slot 'replica1', physical, active", "<AsyncSlot 'replica1'"))


async def test_the_wal_retained_by_a_slot_equals_the_servers_count(
    cluster: Cluster, colour: Colour, name: str
) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        slot = await primary.create_physical_slot(name, reserve_wal=True)
        for _ in range(2):
            write(cluster, 1000)
            await primary.switch_wal()
        write(cluster, 1000)
        await slot.refresh()
        now = slot.state.current_lsn
        [expected] = rows(
            cluster.primary,
            f"""SELECT pg_wal_lsn_diff('{now}', restart_lsn)::bigint AS bytes,
            (SELECT count(*) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{{24}}$'
                AND name BETWEEN pg_walfile_name(restart_lsn) AND pg_walfile_name('{now}')
            ) AS files FROM pg_replication_slots WHERE slot_name = '{name}'""",
        )
        assert [slot.state.retained_bytes, slot.state.retained_files] == [*expected.values()]
        assert slot.state.retained_files >= 3
        assert slot.state.restart_lsn is not None
        assert slot.state.restart_lsn <= slot.state.current_lsn - slot.state.retained_bytes


async def test_a_slot_without_a_reservation_retains_nothing(
    cluster: Cluster, colour: Colour, name: str
) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        slot = await primary.create_physical_slot(name)
        assert (slot.state.restart_lsn, slot.state.retained_bytes, slot.state.retained_files) == (
            None,
            0,
            0,
        )
        assert slot.state.wal_status is None
        assert (slot.state.slot_type, slot.state.active, slot.state.temporary) == (
            SlotType.PHYSICAL,
            False,
            False,
        )
        assert slot.state.retained is None
        assert slot.state.reached_lsn is None
        assert not slot.state.is_lost
        assert name in [slot.name for slot in await primary.slots()]
        with pytest.raises(pgreplkit.errors.AlreadyExists, match="already exists"):
            await primary.create_physical_slot(name)


async def test_slots_are_ordered_by_name(cluster: Cluster, colour: Colour, name: str) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        for end in "cab":
            await primary.create_physical_slot(name + end)
        names = [slot.name for slot in await primary.slots()]
    assert names == sorted(names)
    assert {name + "a", name + "b", name + "c", SLOT} <= {*names}


async def test_a_temporary_slot_ends_with_its_session(
    cluster: Cluster, colour: Colour, name: str
) -> None:
    async with await colour.primary(cluster.primary.conninfo) as other:
        async with await colour.primary(cluster.primary.conninfo) as primary:
            slot = await primary.create_physical_slot(name, reserve_wal=True, temporary=True)
            assert (slot.state.temporary, slot.state.active) == (True, True)
            seen = await other.slot(name)
            with pytest.raises(pgreplkit.errors.SlotActive) as caught:
                await seen.drop()
            assert caught.value.pid == primary.connection.info.backend_pid
            mine = await primary.create_physical_slot(name + "2", temporary=True)
            await mine.drop()
        # The session's end is not awaited by the client.
        gone = "SELECT FROM pg_replication_slots WHERE slot_name = '{}'"
        wait_until(lambda: not rows(cluster.primary, gone.format(name)))
        with pytest.raises(pgreplkit.errors.SlotNotFound):
            await seen.refresh()


@pytest.mark.parametrize("bad", ["", "Upper", "with-dash", "x" * 64, "ä", "a b", 'q"', "x\n", "\0"])
async def test_an_invalid_slot_name_is_not_sent(cluster: Cluster, colour: Colour, bad: str) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        for verb in (primary.slot, primary.create_physical_slot, primary.create_logical_slot):
            with pytest.raises(pgreplkit.errors.InvalidSlotName):
                await verb(bad)
            with pytest.raises(TypeError):
                await verb(5)  # type: ignore[arg-type]
    # The server would cut a name that is too long, and make a slot of another name.
    if "\0" not in bad and len(bad) < 64:
        with pytest.raises(psycopg.Error):
            run(cluster.primary, f"SELECT pg_create_physical_replication_slot($x${bad}$x$)")


async def test_a_missing_slot_raises_slot_not_found(
    cluster: Cluster, colour: Colour, name: str
) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        with pytest.raises(pgreplkit.errors.SlotNotFound, match=name):
            await primary.slot(name)
        slot = await primary.create_physical_slot(name, reserve_wal=True)
        await (await primary.slot(name)).drop()
        here = slot.state.current_lsn
        calls: list[Callable[[], Awaitable[object]]] = [
            slot.refresh,
            slot.drop,
            lambda: slot.drop(force=True),
            lambda: slot.wait_for_catchup(here, timeout=0),
        ]
        if cluster.major >= 12:
            calls += [lambda: slot.advance(here), lambda: slot.copy(name + "2")]
        for call in calls:
            with pytest.raises(pgreplkit.errors.SlotNotFound):
                await call()


async def test_a_slot_in_use_is_dropped_only_with_force(
    cluster: Cluster, colour: Colour, name: str
) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        slot = await primary.create_physical_slot(name, reserve_wal=True)
        with streaming(cluster.primary, name) as pid:
            assert (await slot.refresh()).state.active_pid == pid
            with pytest.raises(pgreplkit.errors.SlotActive) as caught:
                await slot.drop()
            error = caught.value
            assert (error.slot, error.pid, error.client_addr, error.application_name) == (
                *(name, pid, "127.0.0.1", "holder"),
            )
            assert "force=True" in str(error)
            assert (await slot.refresh()).state.active
            await slot.drop(force=True)
        with pytest.raises(pgreplkit.errors.SlotNotFound):
            await primary.slot(name)


@pytest.mark.pg(">=11")
async def test_advancing_moves_a_slot_forward_and_no_further_than_the_server(
    cluster: Cluster, colour: Colour, name: str
) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        slot = await primary.create_physical_slot(name, reserve_wal=True)
        start = slot.state.restart_lsn
        assert start is not None
        target = write(cluster, 5000)
        assert await slot.advance(target) == target
        assert slot.state.restart_lsn == target
        with pytest.raises(pgreplkit.errors.ServerError, match="minimum is"):
            await slot.advance(start)
        assert await slot.advance(LSN.MAX) <= (await primary.wal_position()).insert
        empty = await primary.create_physical_slot(name + "2")
        with pytest.raises(pgreplkit.errors.ServerError) as caught:
            await empty.advance(target)
        assert type(caught.value) is pgreplkit.errors.ServerError
        with pytest.raises(TypeError):
            await slot.advance("0/1")  # type: ignore[arg-type]


@pytest.mark.pg("<11")
async def test_advancing_a_slot_needs_11(cluster: Cluster, colour: Colour, name: str) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        slot = await primary.create_physical_slot(name, reserve_wal=True)
        with pytest.raises(pgreplkit.errors.UnsupportedByServer, match="needs PostgreSQL 11"):
            await slot.advance(slot.state.current_lsn)


async def test_a_copied_slot_starts_at_the_position_of_its_original(
    cluster: Cluster, colour: Colour, name: str
) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        slot = await primary.create_physical_slot(name, reserve_wal=True)
        if cluster.major < 12:
            with pytest.raises(pgreplkit.errors.UnsupportedByServer, match="needs PostgreSQL 12"):
                await slot.copy(name + "2")
            return
        copy = await slot.copy(name + "2")
        assert (copy.name, copy.state.restart_lsn) == (name + "2", slot.state.restart_lsn)
        assert not copy.state.temporary
        assert (await slot.copy(name + "3", temporary=True)).state.temporary
        with pytest.raises(pgreplkit.errors.AlreadyExists):
            await slot.copy(name + "2")
        with pytest.raises(TypeError):
            await slot.copy(name + "4", plugin="pgoutput")
        logical = await primary.create_logical_slot(name + "5")
        copy = await logical.copy(name + "6")
        assert (copy.state.plugin, copy.state.confirmed_flush_lsn) == (
            *("pgoutput", logical.state.confirmed_flush_lsn),
        )


async def test_waiting_for_a_slot_ends_when_the_standby_has_the_wal(
    cluster: Cluster, colour: Colour
) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        slot = await primary.slot(SLOT)
        target = write(cluster, 100_000)
        await slot.wait_for_catchup(target, timeout=20)
        assert slot.state.restart_lsn is not None
        assert slot.state.restart_lsn >= target
        with pytest.raises(pgreplkit.errors.WaitTimeout) as caught:
            await slot.wait_for_catchup(LSN.MAX, timeout=0.1)
    assert f"to reach {LSN.MAX}: it is at {slot.state.restart_lsn}" in str(caught.value)
    assert "process" in str(caught.value)


def inserts(seen: Sequence[SlotChange]) -> list[SlotChange]:
    """Return the transactions that insert.

    The server may send the table again at any time and, before 15, empty transactions.
    """
    inserting = {change.xid for change in seen if change.data[:1] == b"I"}
    return [c for c in seen if c.xid in inserting and c.data[:1] != b"R"]


def kinds(seen: Sequence[SlotChange]) -> bytes:
    return b"".join(change.data[:1] for change in seen)


async def test_peeking_keeps_the_changes_and_consuming_removes_them(
    cluster: Cluster, colour: Colour, name: str
) -> None:
    options = table(cluster, name)
    async with await colour.primary(cluster.primary.conninfo) as primary:
        slot = await primary.create_logical_slot(name)
        assert (slot.state.slot_type, slot.state.plugin, slot.state.database) == (
            *(SlotType.LOGICAL, "pgoutput", "postgres"),
        )
        for number in range(3):
            run(cluster.primary, f"INSERT INTO {name}t VALUES ({number})")
        seen = inserts(await slot.peek(options=options))
        assert kinds(seen) == b"BICBICBIC"
        assert seen == inserts(await slot.peek(options=options))
        assert (seen[1].text[0], seen[1].text[-1]) == ("I", "0")
        assert seen[0].lsn <= seen[2].lsn <= seen[3].lsn < seen[-1].lsn
        # Whole transactions: one that begins within the limit ends beyond it.
        first = await slot.peek(1, options=options)
        assert kinds(first) == b"BRIC"  # begin, relation, insert, commit
        assert inserts(first) == seen[:3]
        assert await slot.consume(1, options=options) == first
        upto = await slot.consume(stop_at=seen[5].lsn, options=options)
        assert inserts(upto) == seen[3:6]
        rest = await slot.consume(options=options)
        assert inserts(rest) == seen[6:]
        assert await slot.consume(options=options) == []
        assert (await slot.refresh()).state.confirmed_flush_lsn is not None
        assert slot.state.confirmed_flush_lsn is not None
        assert slot.state.confirmed_flush_lsn >= seen[-1].lsn
        with pytest.raises(pgreplkit.errors.ServerError, match="proto_version"):
            await slot.peek()
        with pytest.raises(ValueError, match="limit must be an int >= 1"):
            await slot.peek(0)
        await slot.wait_for_catchup(seen[-1].lsn, timeout=1)
        physical = await primary.slot(SLOT)
        with pytest.raises(pgreplkit.errors.SlotActive):
            await physical.peek()


async def test_a_logical_slot_is_read_in_its_own_database(
    cluster: Cluster, colour: Colour, name: str
) -> None:
    run(cluster.primary, f"CREATE DATABASE {name}")
    try:
        async with await colour.primary(cluster.primary.conninfo) as primary:
            await primary.create_logical_slot(name)
        async with await colour.primary(cluster.primary.conninfo, dbname=name) as elsewhere:
            slot = await elsewhere.slot(name)
            with pytest.raises(pgreplkit.errors.ServerError, match="connect to database") as caught:
                await slot.peek(options={"proto_version": "1", "publication_names": "x"})
        assert f"belongs to database 'postgres', this is '{name}'" in str(caught.value)
    finally:
        run(cluster.primary, f"DROP DATABASE {name}")


async def test_creating_a_logical_slot_times_out_and_leaves_nothing(
    cluster: Cluster, colour: Colour, name: str
) -> None:
    with psycopg.connect(cluster.primary.conninfo) as writer:
        writer.execute(f"CREATE TABLE {name} (a int)".encode())
        theirs = await colour.primary_on(cluster.primary.conninfo)
        try:
            await execute(theirs.connection, "SET statement_timeout = '47s'")
            with pytest.raises(pgreplkit.errors.StatementTimeout, match="open transactions"):
                await theirs.create_logical_slot(name, timeout=0.3)
            with pytest.raises(pgreplkit.errors.SlotNotFound):
                await theirs.slot(name)
            writer.rollback()
            await execute(theirs.connection, "BEGIN")
            await theirs.create_logical_slot(name, timeout=30)
            # The limit was for that statement alone.
            assert await execute(theirs.connection, "SHOW statement_timeout") == [("47s",)]
        finally:
            await close(theirs.connection)


async def test_options_of_later_majors_are_refused_before_anything_is_sent(
    cluster: Cluster, colour: Colour, name: str
) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        for option, since in {"two_phase": 14, "failover": 17}.items():
            if cluster.major < since:
                with pytest.raises(pgreplkit.errors.UnsupportedByServer) as caught:
                    await primary.create_logical_slot(name, **{option: True})  # type: ignore[arg-type]
                assert caught.value.since == since
                assert name not in [slot.name for slot in await primary.slots()]
            else:
                slot = await primary.create_logical_slot(name + option, **{option: True})  # type: ignore[arg-type]
                assert getattr(slot.state, option) is True
        plain = await primary.create_logical_slot(name + "plain", temporary=True)
        assert plain.state.two_phase is (False if cluster.major >= 14 else None)
        assert plain.state.failover is (False if cluster.major >= 17 else None)
        for seconds in (-1, float("inf"), float("nan")):
            with pytest.raises(ValueError, match="a timeout must be finite"):
                await primary.create_logical_slot(name, timeout=seconds)
        with pytest.raises(TypeError, match="a number of seconds"):
            await primary.create_logical_slot(name, timeout="5")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="plugin"):
            await primary.create_logical_slot(name, plugin=None)  # type: ignore[arg-type]
        with pytest.raises(pgreplkit.errors.ServerError, match=r"no_such_plugin.*; install"):
            await primary.create_logical_slot(name, plugin="no_such_plugin")


@reads_twice
async def test_a_standby_has_its_own_slots(cluster: Cluster, colour: Colour, name: str) -> None:
    write(cluster, 1000)
    cluster.catch_up()
    async with await colour.standby(cluster.standby.conninfo) as standby:
        slot = await standby.create_physical_slot(name, reserve_wal=True)
        try:
            replayed = LSN(str(one(cluster.standby, "SELECT pg_last_wal_replay_lsn()::text")))
            assert slot.state.current_lsn == replayed
            assert slot.state.restart_lsn is not None
            assert slot.state.retained_bytes == replayed - slot.state.restart_lsn
            assert [slot.name for slot in await standby.slots()] == [name]
        finally:
            await slot.drop()


async def test_a_standbys_logical_slot_waits_for_the_primary(
    cluster: Cluster, colour: Colour, name: str
) -> None:
    async with await colour.standby(cluster.standby.conninfo) as standby:
        if cluster.major < 16:
            with pytest.raises(pgreplkit.errors.UnsupportedByServer, match="needs PostgreSQL 16"):
                await standby.create_logical_slot(name)
            return
        for _ in range(10):
            try:
                slot = await standby.create_logical_slot(name, timeout=0.2)
            except pgreplkit.errors.StatementTimeout:
                break
            await slot.drop()  # The primary wrote what it waits for, as it does every 15 s.
        else:
            pytest.fail("it waits for nothing")


async def test_slot_errors_name_the_missing_privilege(
    cluster: Cluster, colour: Colour, name: str
) -> None:
    stranger = conninfo_as(cluster.primary, "stranger")
    async with await colour.primary(stranger) as primary:
        slot = await primary.slot(SLOT)
        assert slot.state.restart_lsn is not None
        for call in (
            primary.create_physical_slot(name),
            primary.create_logical_slot(name),
            slot.drop(),
            slot.drop(force=True),
        ):
            with pytest.raises(pgreplkit.errors.InsufficientPrivilege) as caught:
                await call
            assert str(caught.value).endswith('ALTER ROLE "stranger" REPLICATION')


async def test_an_unknown_wal_status_is_kept(cluster: Cluster, colour: Colour) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        slot = await primary.slot(SLOT)
    assert slot.state.wal_status in {None, WalStatus.RESERVED, WalStatus.EXTENDED}
