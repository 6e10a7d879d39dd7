"""Pipelines: transactions sent in batches, and the statements that follow an error."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import psycopg
import pytest
from clusters import wait_until
from databases import Database
from relays import Relay

from pgreplkit._async.wire.pipeline import AsyncPipeline, Outcome
from pgreplkit.catalog.logical.applying import SET_MARK
from pgreplkit.driver.failures import translate_errors
from pgreplkit.driver.results import raise_failure
from pgreplkit.errors import ConnectionFailed, ServerError
from pgreplkit.errors.server import PROTOCOL_VIOLATION

pytestmark = pytest.mark.one_colour

T = TypeVar("T")
INSERT = b"insert", "INSERT INTO t VALUES ($1::int)"


TABLE = "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)"
"""Its key is checked at the commit."""


async def opened(connection: psycopg.AsyncConnection[object]) -> AsyncPipeline[T]:
    """Return a pipeline whose first batch may run."""
    pipeline: AsyncPipeline[T] = AsyncPipeline(connection)
    await connection.execute(SET_MARK, [pipeline.mark.decode()])
    pipeline.open()
    return pipeline


async def sent(
    database: Database, batches: list[list[list[str]]]
) -> list[Outcome[tuple[int, int]]]:
    """Return the outcomes of batches, each of transactions, each of rows."""
    database.run(TABLE)
    async with await psycopg.AsyncConnection[object].connect(
        database.conninfo, autocommit=True
    ) as connection:
        pipeline: AsyncPipeline[tuple[int, int]] = await opened(connection)
        for number, batch in enumerate(batches):
            for at, rows in enumerate(batch):
                pipeline.begin()
                for row in rows:
                    await pipeline.send(*INSERT, [row.encode()], [0])
                await pipeline.commit((number, at))
            await pipeline.sync()
        await pipeline.close()
        return pipeline.outcomes()


async def test_each_transaction_has_its_outcome(database: Database) -> None:
    outcomes = await sent(database, [[["1"], ["2", "3"]], [["4"]]])
    assert [(one.group, one.error) for one in outcomes] == [
        ((0, 0), None),
        ((0, 1), None),
        ((1, 0), None),
    ]
    assert database.one("SELECT count(*) FROM t") == 4


@pytest.mark.parametrize("failing", [["x"], ["1"]], ids=["statement", "commit"])
async def test_nothing_is_committed_after_a_failure_even_in_later_batches(
    database: Database, failing: list[str]
) -> None:
    outcomes = await sent(database, [[["1"], failing, ["2"]], [["3"]], [["4"], ["5"]]])
    assert [one.error is None for one in outcomes] == [True, *[False] * 5]
    assert outcomes[1].error is not None
    assert outcomes[1].error.sqlstate in ("22P02", "23505")
    assert database.all("SELECT id FROM t") == [(1,)]


@pytest.mark.parametrize("failing", [["x"], ["1"]], ids=["statement", "commit"])
async def test_a_group_that_is_alone_is_answered_before_its_batch_ends(
    database: Database, failing: list[str]
) -> None:
    database.run(TABLE)
    async with await psycopg.AsyncConnection[object].connect(
        database.conninfo, autocommit=True
    ) as connection:
        pipeline: AsyncPipeline[int] = await opened(connection)
        pid = connection.info.backend_pid
        started = f"SELECT xact_start FROM pg_stat_activity WHERE pid = {pid}"
        succeeded = []
        for number, rows in enumerate([["1"], ["2", "3"], failing, ["4"]]):
            pipeline.begin()
            for row in rows:
                await pipeline.send(*INSERT, [row.encode()], [0])
            await pipeline.commit(number)
            while not (outcomes := pipeline.outcomes()):
                await asyncio.sleep(0.001)
            succeeded += [outcome.error is None for outcome in outcomes]
            # Without a transaction of which others would have to wait for the end. The server sends
            # an error before it has rolled back.
            wait_until(lambda: database.one(started) is None)
        await pipeline.close()
        # Only the end of the batch ends the effect of a failure.
        assert succeeded == [True, True, False, False]
    assert database.all("SELECT id FROM t ORDER BY 1") == [(1,), (2,), (3,)]


async def test_a_malformed_value_does_not_count_as_a_lost_connection(database: Database) -> None:
    async with await psycopg.AsyncConnection[object].connect(
        database.conninfo, autocommit=True
    ) as connection:
        result = connection.pgconn.exec_params(b"SELECT $1::int4", [b"\0"], param_formats=[1])
        with pytest.raises(ServerError) as caught, translate_errors("bind a value"):
            raise_failure([result], "utf-8")
        assert caught.value.sqlstate == PROTOCOL_VIOLATION
        assert not isinstance(caught.value, ConnectionFailed)
        assert await (await connection.execute("SELECT 1")).fetchall() == [(1,)]


async def test_a_server_that_keeps_up_does_not_keep_other_tasks_from_running(
    database: Database,
) -> None:
    others: list[str] = []

    async def other() -> None:
        others.append("ran")

    async with await psycopg.AsyncConnection[object].connect(
        database.conninfo, autocommit=True
    ) as connection:
        pipeline: AsyncPipeline[int] = await opened(connection)
        pipeline.begin()
        task = asyncio.create_task(other())
        # So few bytes that the socket takes them at once.
        for _ in range(100):
            await pipeline.send(b"select", "SELECT 1", [], [])
        assert others == ["ran"]
        await pipeline.commit(0)
        await pipeline.close()
        await task


async def test_a_connection_does_not_wait_for_its_socket_after_a_pipeline(
    database: Database,
) -> None:
    with Relay(database.node.port) as relay:
        where = relay.conninfo_of(database.conninfo)
        connection = await psycopg.AsyncConnection[object].connect(where, autocommit=True)
        pipeline: AsyncPipeline[int] = AsyncPipeline(connection)
        pipeline.open()
        await pipeline.close()
        assert connection.pgconn.nonblocking
        relay.freeze()
        # More than the sockets between the two hold.
        connection.pgconn.send_query(b"SELECT '%s'" % (b"x" * (64 << 20)))
        assert connection.pgconn.flush()
        await connection.close()


@pytest.mark.usefixtures("impatient")
async def test_a_pipeline_whose_server_has_fallen_silent_is_cut_while_it_sends(
    database: Database,
) -> None:
    with Relay(database.node.port) as relay:
        where = relay.conninfo_of(database.conninfo)
        async with await psycopg.AsyncConnection[object].connect(where, autocommit=True) as silent:
            pipeline: AsyncPipeline[int] = AsyncPipeline(silent)
            pipeline.open()
            pipeline.begin()
            relay.freeze()
            # More than the sockets between the two hold.
            await pipeline.send(b"large", "SELECT $1", [b"x" * (64 << 20)], [1])
            with pytest.raises(psycopg.errors.ConnectionTimeout, match="the server sent nothing"):
                await pipeline.sync()


@pytest.mark.usefixtures("impatient")
async def test_a_pipeline_of_which_the_server_has_a_part_is_cut(database: Database) -> None:
    """The server counts as active until it has the end of the batch."""
    with Relay(database.node.port) as relay:
        where = relay.conninfo_of(database.conninfo)
        async with await psycopg.AsyncConnection[object].connect(where, autocommit=True) as silent:
            pipeline: AsyncPipeline[int] = await opened(silent)
            pipeline.begin()
            for _ in range(100):
                await pipeline.send(b"select", "SELECT 1", [], [])
            waiting = (
                "SELECT state FROM pg_stat_activity WHERE wait_event = 'ClientRead'"
                f" AND query = 'SELECT 1' AND pid = {silent.info.backend_pid}"
            )
            wait_until(lambda: database.all(waiting) == [("active",)])
            relay.freeze()
            await pipeline.commit(1)
            with pytest.raises(psycopg.errors.ConnectionTimeout, match="waits for this client"):
                await pipeline.drain()
