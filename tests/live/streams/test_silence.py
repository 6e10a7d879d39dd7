"""A path that falls silent ends a stream within a bounded time, and is replaced if asked."""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import count

import psycopg
import pytest
from clusters import Clusters, one, run, wait_until
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL
from relays import Relay, SlowRelay

import pgreplkit
from pgreplkit import Primary, ReplicationConnection
from pgreplkit._async.logical.rowcopy import relay as pass_on_async
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit._async.wire.rawvalues import execute
from pgreplkit._sync.logical.applytarget import ApplyTarget
from pgreplkit._sync.logical.rowcopy import copied_rows, relay as pass_on
from pgreplkit.changes import Insert
from pgreplkit.driver import watchdog
from pgreplkit.errors import ConnectionFailed
from pgreplkit.lab import Node
from pgreplkit.plans.streams import silence

SHORT = 2.0


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "DEFAULT_LIMIT", SHORT)
    monkeypatch.setattr(silence, "_SHORTEST_LIMIT", SHORT)


@pytest.fixture
def node(clusters: Clusters, major: int) -> Node:
    """Return a server that never ends a silent client by itself."""
    settings = {"wal_level": "logical", "autovacuum": "off", "wal_sender_timeout": "0"}
    node = clusters.lab.primary(version=major, settings=settings)
    run(node, "CREATE TABLE t (id int PRIMARY KEY)")
    run(node, "CREATE PUBLICATION p FOR TABLE t")
    run(node, "SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
    return node


def through(node: Node, relay: Relay) -> str:
    return relay.conninfo_of(node.conninfo, hostaddr="127.0.0.1")


@pytest.mark.matrix
@pytest.mark.parametrize("kind", [Primary, pgreplkit.AsyncPrimary], ids=["sync", "async"])
def test_a_silent_path_is_replaced_and_nothing_is_lost(node: Node, kind: type) -> None:
    got: list[object] = []
    failures: list[BaseException] = []

    def read(conninfo: str) -> None:
        try:
            with (
                Primary.connect(conninfo) as primary,
                primary.changes("s", publications=["p"], reconnect=30, timeout=60) as stream,
            ):
                for change in stream:
                    if isinstance(change, Insert):
                        got.append(change.new["id"])
                        if len(got) == 2:
                            return
        except BaseException as error:
            failures.append(error)

    async def read_async(conninfo: str) -> None:
        async with (
            await pgreplkit.AsyncPrimary.connect(conninfo) as primary,
            primary.changes("s", publications=["p"], reconnect=30, timeout=60) as stream,
        ):
            async for change in stream:
                if isinstance(change, Insert):
                    got.append(change.new["id"])
                    if len(got) == 2:
                        return

    def target(conninfo: str) -> None:
        if kind is Primary:
            read(conninfo)
        else:
            asyncio.run(read_async(conninfo))

    with Relay(node.port) as relay:
        reading = threading.Thread(target=target, args=(through(node, relay),))
        reading.start()
        run(node, "INSERT INTO t VALUES (1)")
        wait_until(lambda: got == [1])
        relay.freeze()
        run(node, "INSERT INTO t VALUES (2)")
        reading.join(60)
        assert not reading.is_alive()
    assert (got, failures) == ([1, 2], [])


@pytest.mark.matrix
def test_a_silent_path_fails_a_stream_that_may_not_reconnect(node: Node) -> None:
    with Relay(node.port) as relay, Primary.connect(through(node, relay)) as primary:
        stream = primary.changes("s", publications=["p"], timeout=60)
        with stream:
            relay.freeze()
            with pytest.raises(ConnectionFailed, match="sent nothing for 2 s"):
                next(stream)


@pytest.mark.matrix
@pytest.mark.parametrize("command", [b"START_REPLICATION", b"AS s WHERE slot_name"])
def test_a_path_that_is_silent_before_the_stream_begins_fails_it(
    node: Node, command: bytes
) -> None:
    async def read(conninfo: str) -> None:
        async with (
            await pgreplkit.AsyncPrimary.connect(conninfo) as primary,
            primary.changes("s", publications=["p"], timeout=20) as stream,
        ):
            await anext(stream)

    with (
        Relay(node.port, frozen_by=command) as relay,
        pytest.raises(ConnectionFailed, match="did not answer within 2 s"),
    ):
        asyncio.run(read(through(node, relay)))
    with (
        Relay(node.port, frozen_by=b"START_REPLICATION") as relay,
        ReplicationConnection.connect(through(node, relay)) as connection,
        pytest.raises(ConnectionFailed, match="did not answer within 2 s"),
        connection.start_physical(connection.identify_system().position, timeout=20) as wal,
    ):
        next(wal)


@pytest.mark.matrix
@pytest.mark.parametrize("kind", [ReplicationConnection, pgreplkit.AsyncReplicationConnection])
@pytest.mark.parametrize("libpq", [16, 17])
def test_the_creation_of_a_slot_ends_where_not_even_its_cancellation_is_answered(
    node: Node, libpq: int, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pgreplkit._async.wire import copyboth as copyboth_async
    from pgreplkit._sync.wire import copyboth

    monkeypatch.setattr(copyboth, "CANCELLED_WITHIN", 0.5)
    monkeypatch.setattr(copyboth_async, "CANCELLED_WITHIN", 0.5)
    if libpq < 17:
        monkeypatch.setattr(psycopg.capabilities, "has_cancel_safe", lambda: False)

    def create(conninfo: str) -> None:
        with ReplicationConnection.connect(conninfo, database="postgres") as connection:
            connection.create_slot("new", plugin="pgoutput", timeout=0.5)

    async def create_async(conninfo: str) -> None:
        opened = pgreplkit.AsyncReplicationConnection.connect(conninfo, database="postgres")
        async with await opened as connection:
            await connection.create_slot("new", plugin="pgoutput", timeout=0.5)

    with Relay(node.port, frozen_by=b"CREATE_REPLICATION_SLOT") as relay:
        where = through(node, relay)
        with pytest.raises(ConnectionFailed, match="the server does not respond"):
            create(where) if kind is ReplicationConnection else asyncio.run(create_async(where))


@pytest.mark.matrix
def test_a_slow_client_does_not_make_its_server_silent(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server has half of it to answer the probe.
    monkeypatch.setattr(silence, "DEFAULT_LIMIT", 2 * SHORT)
    with (
        Primary.connect(node.conninfo) as primary,
        primary.changes("s", publications=["p"], timeout=1) as stream,
    ):
        for _ in range(2):
            time.sleep(SHORT * 1.5)
            with pytest.raises(pgreplkit.errors.WaitTimeout):
                next(stream)
        # Longer than the limit in all: the server answers the probe.
        for _ in range(3):
            with pytest.raises(pgreplkit.errors.WaitTimeout):
                next(stream)


@pytest.mark.matrix
def test_a_silent_path_fails_a_physical_stream(node: Node) -> None:
    with Relay(node.port) as relay:
        connection = ReplicationConnection.connect(through(node, relay))
        start = connection.identify_system().position
        with connection, connection.start_physical(start, timeout=60) as stream:
            run(node, "INSERT INTO t VALUES (1)")
            next(stream)
            relay.freeze()
            with pytest.raises(ConnectionFailed, match="sent nothing for 2 s"):
                for _ in stream:
                    pass


@pytest.mark.matrix
def test_a_silent_path_fails_a_base_backup(node: Node) -> None:
    with Relay(node.port) as relay:
        connection = ReplicationConnection.connect(through(node, relay))
        with connection, connection.base_backup(checkpoint="fast", max_rate=1 << 16) as backup:
            next(backup)
            next(backup)
            relay.freeze()
            with pytest.raises(ConnectionFailed, match="sent nothing for 2 s while copying"):
                for _ in backup:
                    pass


@pytest.mark.pg(">=18")
@pytest.mark.matrix
def test_a_publication_that_is_dropped_during_the_stream_is_noticed(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pgreplkit._sync.streams import slotstream

    monkeypatch.setattr(slotstream, "PUBLICATIONS_CHECKED_EVERY", 0.5)
    with Primary.connect(node.conninfo) as primary:
        stream = primary.changes("s", publications=["p"], timeout=30, reconnect=30)
        with stream:
            run(node, "INSERT INTO t VALUES (1)")
            assert next(c.new["id"] for c in stream if isinstance(c, Insert)) == 1
            run(node, "DROP PUBLICATION p")
            with pytest.raises(pgreplkit.errors.PublicationNotFound):
                for _ in stream:
                    pass
    assert not one(node, "SELECT active FROM pg_replication_slots WHERE slot_name = 's'")


@pytest.mark.pg(">=16")
@pytest.mark.matrix
def test_a_slot_on_the_standby_of_an_idle_primary_names_the_remedy(
    clusters: Clusters, major: int
) -> None:
    lab = clusters.lab
    primary = lab.primary(version=major, settings={"wal_level": "logical", "autovacuum": "off"})
    settings = {"hot_standby_feedback": "on"}
    standby = lab.standby(primary, slot="physical", settings=settings)
    opened = ReplicationConnection.connect(standby.conninfo, database="postgres")
    names_it = pytest.raises(pgreplkit.errors.StatementTimeout, match="pg_log_standby_snapshot")
    with pgreplkit.Standby.connect(standby.conninfo) as server, opened as connection:

        def create() -> None:
            # The primary may just write what the slot waits for, as it does 15 s after its start.
            for _ in range(3):
                server.create_logical_slot("s", timeout=0.5).drop()

        def create_by_protocol() -> None:
            for _ in range(3):
                connection.create_slot("s", plugin="pgoutput", timeout=0.5)
                connection.drop_slot("s")

        with names_it:
            create()
        with names_it:
            create_by_protocol()


@pytest.mark.matrix
@pytest.mark.parametrize("kind", [Primary, pgreplkit.AsyncPrimary], ids=["sync", "async"])
def test_a_silent_path_ends_the_copy_of_a_snapshot(node: Node, kind: type) -> None:
    # More than the sockets between the two hold.
    run(node, "CREATE TABLE large AS SELECT repeat('x', 10000) FROM generate_series(1, 5000)")
    run(node, "CREATE PUBLICATION large FOR TABLE large")

    def read(conninfo: str) -> None:
        with (
            Primary.connect(conninfo) as primary,
            primary.snapshot_then_changes("new", publications=["large"], timeout=60) as stream,
        ):
            next(stream)
            relay.freeze()
            for _ in stream:
                pass

    async def read_async(conninfo: str) -> None:
        async with (
            await pgreplkit.AsyncPrimary.connect(conninfo) as primary,
            primary.snapshot_then_changes("new", publications=["large"], timeout=60) as stream,
        ):
            await anext(stream)
            relay.freeze()
            async for _ in stream:
                pass

    found = "the server sent nothing for 2 s, and its process waits for this client"
    with Relay(node.port) as relay:
        where = through(node, relay)
        with pytest.raises(ConnectionFailed, match=found):
            read(where) if kind is Primary else asyncio.run(read_async(where))
    slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'new'"
    assert one(node, slots) == 0


@pytest.mark.matrix
def test_a_server_that_copies_slowly_is_not_taken_for_silent(node: Node) -> None:
    run(node, "INSERT INTO t VALUES (1)")
    with Primary.connect(node.conninfo) as primary, psycopg.connect(node.conninfo) as other:
        stream = primary.snapshot_then_changes("new", publications=["p"])
        with stream:
            other.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
            unlock = threading.Timer(SHORT * 2.5, other.rollback)
            unlock.start()
            assert isinstance(next(stream), Insert)
            unlock.join()


@pytest.mark.pg(">=18")
@pytest.mark.matrix
@pytest.mark.parametrize("kind", [Primary, pgreplkit.AsyncPrimary], ids=["sync", "async"])
@pytest.mark.usefixtures("impatient")
def test_a_silent_path_ends_a_statement_and_a_slow_statement_goes_on(
    node: Node, kind: type
) -> None:
    slow = "SELECT pg_sleep(1) IS NULL AS is_so"

    def ask(conninfo: str) -> None:
        with Primary.connect(conninfo) as primary:
            primary._link.one("sleep", slow)
            relay.freeze()
            primary.create_physical_slot("unmade")

    async def ask_async(conninfo: str) -> None:
        async with await pgreplkit.AsyncPrimary.connect(conninfo) as primary:
            await primary._link.one("sleep", slow)
            relay.freeze()
            await primary.create_physical_slot("unmade")

    found = r"the server sent nothing for 0\.5 s, and its process waits for this client"
    with Relay(node.port) as relay:
        where = through(node, relay)
        with pytest.raises(ConnectionFailed, match=found):
            ask(where) if kind is Primary else asyncio.run(ask_async(where))


@pytest.mark.pg(">=18")
@pytest.mark.matrix
@pytest.mark.usefixtures("impatient")
def test_a_statement_ends_where_the_host_no_longer_answers_anything(node: Node) -> None:
    with Relay(node.port, frozen_by=b"pg_replication_slots") as relay:
        where = make_conninfo(through(node, relay), connect_timeout=2)
        # Your own connection, in a transaction.
        with psycopg.connect(where) as connection:
            with pytest.raises(ConnectionFailed, match=r"sent nothing for 0\.5 s, and a second"):
                Primary(connection).slots()
            assert connection.closed


@pytest.mark.pg(">=18")
@pytest.mark.usefixtures("impatient")
def test_a_silent_path_ends_a_statement_of_an_applier_and_a_copy_in_progress(node: Node) -> None:
    found = r"the server sent nothing for 0\.5 s, and its process waits for this client"
    with Relay(node.port) as relay:
        where = through(node, relay)
        with ApplyTarget.connect(where, "silent", uses_origin=False) as target:
            relay.freeze()
            with pytest.raises(psycopg.errors.ConnectionTimeout, match=found):
                target.execute("SELECT 1")
    # The server has begun to send, and counts as active: it waits until it can send the rest.
    rows = SQL("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 200000)) TO STDOUT")
    with (
        Relay(node.port) as relay,
        psycopg.connect(through(node, relay), autocommit=True) as reader,
        psycopg.connect(node.conninfo) as writer,
    ):
        writer.execute("CREATE TEMPORARY TABLE taken (row text)")
        looks = count()

        def freeze_later() -> None:
            if next(looks) == 3:
                relay.freeze()

        with (
            pytest.raises(psycopg.errors.ConnectionTimeout, match=found),
            watchdog.watched_at_times(writer) as writing,
            writer.cursor().copy("COPY taken FROM STDIN") as sink,
        ):
            pass_on(reader, rows.format(), sink, writing, freeze_later)


ROWS = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, {})) TO STDOUT"


@pytest.mark.matrix
@pytest.mark.parametrize("count", [10, 200_000], ids=["at_its_end", "while_it_is_sent"])
@pytest.mark.parametrize("kind", [Primary, pgreplkit.AsyncPrimary], ids=["sync", "async"])
@pytest.mark.usefixtures("impatient")
def test_a_silent_path_ends_a_copy_into_a_server(node: Node, kind: type, count: int) -> None:
    """The server counts as active, and waits for the rest of the rows."""
    run(node, "CREATE TABLE taken (row text)")
    rows, into = SQL(ROWS).format(count), "COPY taken FROM STDIN"

    def freeze() -> None:
        # Once the server has begun to take rows.
        wait_until(lambda: one(node, IS_TAKING) == 1)
        relay.freeze()

    def copy(where: str) -> None:
        with (
            psycopg.connect(node.conninfo, autocommit=True) as reader,
            psycopg.connect(where, autocommit=True) as writer,
            watchdog.watched_at_times(writer) as writing,
            writer.cursor().copy(into) as sink,
        ):
            freeze()
            pass_on(reader, rows, sink, writing)

    async def copy_async(where: str) -> None:
        connect = psycopg.AsyncConnection[object].connect
        async with (
            await connect(node.conninfo, autocommit=True) as reader,
            await connect(where, autocommit=True) as writer,
        ):
            with watchdog.watched_at_times(writer) as writing:
                async with writer.cursor().copy(into) as sink:
                    freeze()
                    await pass_on_async(reader, rows, sink, writing)

    found = r"the server sent nothing for 0\.5 s, and its process waits for this client"
    with Relay(node.port) as relay:
        where = through(node, relay)
        with pytest.raises(psycopg.errors.ConnectionTimeout, match=found):
            copy(where) if kind is Primary else asyncio.run(copy_async(where))


IS_TAKING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE query LIKE 'COPY taken%' AND state = 'active' AND wait_event = 'ClientRead'
"""


@pytest.mark.pg(">=18")
def test_a_copy_is_not_cut_while_its_client_uses_the_rows(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "DEFAULT_LIMIT", 0.2)
    monkeypatch.setattr(watchdog, "_BEAT", 0.1)
    with psycopg.connect(node.conninfo, autocommit=True) as reader:
        for _ in copied_rows(reader, SQL(ROWS).format(10)):
            time.sleep(0.3)
        reader.execute("SELECT 1")


@pytest.mark.pg(">=18")
async def test_a_large_statement_is_not_cut_while_the_server_takes_it(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "DEFAULT_LIMIT", 0.2)
    with SlowRelay(node.port) as relay:
        async with await psycopg.AsyncConnection[object].connect(through(node, relay)) as slow:
            started = time.monotonic()
            value = b"x" * (16 << 20)
            result = await execute(AsyncLink(slow), "SELECT octet_length($1::text)", [value], [0])
            assert result.get_value(0, 0) == (16 << 20).to_bytes(4, "big")
            # It was judged in that time.
            assert time.monotonic() - started > 3


@pytest.mark.matrix
@pytest.mark.parametrize("kind", [ReplicationConnection, pgreplkit.AsyncReplicationConnection])
def test_a_path_that_is_silent_at_the_end_of_a_timeline_fails_the_stream(
    clusters: Clusters, major: int, kind: type
) -> None:
    primary = clusters.lab.primary(version=major)
    standby = clusters.lab.standby(primary)
    with Primary.connect(primary.conninfo) as server:
        start = server.identity().position
    primary.stop()
    standby.promote()

    def read(where: str) -> None:
        with ReplicationConnection.connect(where) as connection:
            for _ in connection.start_physical(start, timeline=1, timeout=30):
                pass

    async def read_async(where: str) -> None:
        async with await pgreplkit.AsyncReplicationConnection.connect(where) as connection:
            async for _ in connection.start_physical(start, timeline=1, timeout=30):
                pass

    # The client agrees to the end.
    with Relay(standby.port, frozen_by=b"c\0\0\0\4") as relay:
        where = through(standby, relay)
        with pytest.raises(ConnectionFailed, match="did not answer within 2 s"):
            read(where) if kind is ReplicationConnection else asyncio.run(read_async(where))
