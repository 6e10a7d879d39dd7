"""Subscriptions between two databases of one server: create, read, alter, wait, drop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from clusters import Cluster, Clusters, wait_until
from colours import Colour, close, execute
from databases import Database, Pair, both, make_pair, remove_databases, subscribed
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tracebacks import printed

import pgreplkit
from pgreplkit import LSN, SubscriptionOptions
from pgreplkit.catalog.logical.subscription import ADVANCE_ORIGIN, STATS
from pgreplkit.rows import LeftoverKind, Streaming, SubscriptionStatus, TableState, WorkerType

pytestmark = pytest.mark.one_colour


async def test_a_subscription_within_one_server_copies_and_follows(
    pair: Pair, colour: Colour
) -> None:
    seen: list[SubscriptionStatus] = []
    async with both(pair, colour) as (publisher, subscriber):
        # Unless the slot is created before, the server would wait for its own transaction.
        subscription = await subscribed(pair, subscriber)
        status = await subscription.wait_for_sync(timeout=60, on_progress=seen.append)
        assert pair.rows("one") == (1000, 1000)
        assert status.is_synced
        assert [str(t.table) for t in status.tables] == ["public.one", "public.two"]
        assert {t.state for t in status.tables} == {TableState.READY}
        assert seen[-1] == status
        pair.publisher.run("DELETE FROM two", "UPDATE one SET name = 'x' WHERE id < 5")
        reached = await subscription.wait_for_catchup(timeout=30)
        assert pair.rows("two") == (0, 0)
        assert pair.subscriber.one("SELECT count(*) FROM one WHERE name = 'x'") == 4
        status = await subscription.status(publisher)
        assert status.is_applying
        assert status.lag_bytes is not None
        assert status.received_lsn is not None
        assert status.received_lsn >= reached
        [worker] = [w for w in status.workers if w.worker_type is WorkerType.APPLY]
        assert worker.last_msg_receipt_time is not None
        assert status.to_dict()["is_synced"] is True
        assert [s.state for s in await subscriber.subscriptions()] == [subscription.state]
        assert "enabled, to p" in repr(subscription)
        dropped = await subscription.drop()
        assert (dropped.leftovers, dropped.slot_was_missing) == ((), False)
        assert "s" not in [slot.name for slot in await publisher.slots()]
        for gone in (subscription.refresh, subscription.drop, subscription.status):
            with pytest.raises(pgreplkit.errors.SubscriptionNotFound, match="has no subscription"):
                await gone()
        if publisher.version.major >= 15:
            with pytest.raises(pgreplkit.errors.SubscriptionNotFound, match="has no subscription"):
                await subscription.stats()
        # Any other object that is dropped before it is read.
        with pytest.raises(pgreplkit.errors.ServerError, match="0 rows instead of one"):
            await subscriber._link.one("read nothing", "SELECT 1 AS n WHERE false")


async def test_the_publisher_may_be_a_connected_server(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        theirs = getattr(publisher, "_target", publisher)
        subscription = await subscriber.create_subscription("s", theirs, ["p"])
        await subscription.wait_for_sync(timeout=60, publisher=theirs)
        assert pair.rows("one") == (1000, 1000)
        lsn = await publisher.write_marker()
        assert await subscription.wait_for_catchup(lsn, publisher=theirs) == lsn


async def test_all_options_of_the_major_version_are_read_back(
    pair: Pair, colour: Colour, cluster: Cluster
) -> None:
    since: dict[int, dict[str, object]] = {
        10: {"copy_data": False, "synchronous_commit": "local", "slot_name": "other"},
        14: {"binary": True, "streaming": "on"},
        15: {"disable_on_error": True, "two_phase": True},
        16: {"password_required": False, "run_as_owner": True, "origin": "none"},
        17: {"failover": True},
        19: {
            "retain_dead_tuples": True,
            "max_retention_duration": 60_000,
            "wal_receiver_timeout": "30s",
        },
    }
    given = {
        k: v for major, part in since.items() if major <= cluster.major for k, v in part.items()
    }
    async with both(pair, colour) as (_, subscriber):
        for major, part in since.items():
            for name, value in part.items() if major > cluster.major else ():
                options = SubscriptionOptions(**{name: value})  # type: ignore[arg-type]
                with pytest.raises(pgreplkit.errors.UnsupportedByServer) as caught:
                    await subscribed(pair, subscriber, options)
                assert caught.value.since == major
        subscription = await subscribed(pair, subscriber, SubscriptionOptions(**given))  # type: ignore[arg-type]
        state = subscription.state
        assert state.subslotname == "other"
        assert state.subsynccommit == "local"
        assert state.subbinary == (True if cluster.major >= 14 else None)
        assert state.substream == (Streaming.ON if cluster.major >= 14 else None)
        assert state.subdisableonerr == (True if cluster.major >= 15 else None)
        assert state.suborigin == ("none" if cluster.major >= 16 else None)
        assert state.subfailover == (True if cluster.major >= 17 else None)
        await subscription.wait_for_sync(timeout=60)
        assert pair.rows("one") == (1000, 0)
        with pytest.raises(pgreplkit.errors.UnsupportedByServer, match="SequencePlan"):
            await subscription.refresh_sequences()
        if cluster.major >= 15:
            # Its worker could change the row at the same time.
            enabled = "SELECT subtwophasestate = 'e' FROM pg_subscription"
            wait_until(lambda: bool(pair.subscriber.one(enabled)))


def test_options_and_counters_of_19_have_their_names() -> None:
    old, new = STATS.sql(18), STATS.sql(19)
    assert "sync_error_count" in old
    assert "sync_seq_error_count" not in old
    assert "'sync_table_error_count'::text)::bigint AS sync_error_count" in new
    assert "confl_update_deleted" in new
    assert "sync_seq_error_count" in new


async def test_options_can_be_changed(pair: Pair, colour: Colour, cluster: Cluster) -> None:
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.set_options(SubscriptionOptions(synchronous_commit="on"))
        assert subscription.state.subsynccommit == "on"
        with pytest.raises(TypeError, match="only a new subscription has copy_data"):
            await subscription.set_options(SubscriptionOptions(copy_data=True))
        with pytest.raises(ValueError, match="no option"):
            await subscription.set_options(SubscriptionOptions())
        if cluster.major < 18:
            with pytest.raises(pgreplkit.errors.UnsupportedByServer):
                await subscription.set_options(SubscriptionOptions(two_phase=True))
        else:
            await subscription.wait_for_sync(timeout=60)
            await subscription.disable()
            await subscription.set_options(SubscriptionOptions(two_phase=True, failover=True))
            assert subscription.state.subfailover
        await subscription.rename("renamed")
        assert subscription.name == "renamed"
        assert subscription.state.subslotname == "s"


async def test_publications_are_added_and_dropped(pair: Pair, colour: Colour) -> None:
    pair.publisher.run("CREATE TABLE three (id int PRIMARY KEY)", "INSERT INTO three VALUES (3)")
    pair.subscriber.run("CREATE TABLE three (id int PRIMARY KEY)")
    pair.publisher.run("CREATE PUBLICATION q FOR TABLE three")
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.add_publications("q")
        assert {*subscription.state.subpublications} == {"p", "q"}
        await subscription.wait_for_sync(timeout=60)
        assert pair.rows("three") == (1, 1)
        await subscription.drop_publications("p")
        assert [str(t.table) for t in await subscription.tables()] == ["public.three"]
        with pytest.raises(ValueError, match="at least one"):
            await subscription.drop_publications("q")
        pair.publisher.run("ALTER PUBLICATION q ADD TABLE two")
        pair.subscriber.run("TRUNCATE two")
        await subscription.refresh_publications()
        await subscription.wait_for_sync(timeout=60)
        assert pair.rows("two") == (10, 10)
        await subscription.disable()
        assert await subscription.workers() == []
        await subscription.set_publications("p", "q")
        assert len(await subscription.tables()) == 2
        await subscription.enable()
        await subscription.refresh_publications(copy_data=False)
        assert len(await subscription.tables()) == 3


async def test_a_subscription_that_cannot_start_raises_and_leaves_nothing(
    pair: Pair, colour: Colour
) -> None:
    nobody = "host=/nowhere dbname=x connect_timeout=2"
    async with both(pair, colour) as (publisher, subscriber):
        before = [slot.name for slot in await publisher.slots()]
        with pytest.raises(pgreplkit.errors.PublicationNotFound, match="no publication nope, nor"):
            await subscriber.create_subscription("s", pair.publisher.conninfo, ["p", "nope", "nor"])
        with pytest.raises(pgreplkit.errors.PublisherUnreachable, match="nowhere"):
            await subscriber.create_subscription("s", nobody, ["p"])
        pair.subscriber.run("DROP TABLE two")
        with pytest.raises(pgreplkit.errors.TableNotFound, match=r"public\.two"):
            await subscribed(pair, subscriber)
        with pytest.raises(ValueError, match="at least one"):
            await subscriber.create_subscription("s", pair.publisher.conninfo, [])
        with pytest.raises(TypeError):
            await subscriber.create_subscription("s", pair.publisher.conninfo, "p")
        assert [slot.name for slot in await publisher.slots()] == before
        assert await subscriber.subscriptions() == []


async def test_a_slot_that_exists_or_cannot_be_created_raises(
    across_two: Pair, colour: Colour
) -> None:
    pair = across_two
    async with both(pair, colour) as (publisher, subscriber):
        slot = await publisher.create_logical_slot("s")
        with pytest.raises(pgreplkit.errors.AlreadyExists, match='slot "s" already exists'):
            await subscribed(pair, subscriber)
        await slot.drop()
        with psycopg.connect(pair.publisher.conninfo) as old:
            old.execute("INSERT INTO two VALUES (1000)")
            with pytest.raises(
                pgreplkit.errors.StatementTimeout, match="waits for the publisher"
            ) as caught:
                await subscriber.create_subscription("s", pair.publisher.conninfo, ["p"], timeout=1)
            assert f"process {old.info.backend_pid} of postgres" in str(caught.value)
        assert await subscriber.subscriptions() == []


@pytest.fixture
def across_two(clusters: Clusters, cluster: Cluster) -> Iterator[Pair]:
    """A publisher, and a subscriber on another server."""
    pair = make_pair(cluster.primary, clusters.lab.primary(version=cluster.major))
    yield pair
    remove_databases(pair.subscriber, pair.publisher)


@pytest.mark.matrix
async def test_a_clone_counts_as_another_server(
    clusters: Clusters, pair: Pair, colour: Colour
) -> None:
    node = clusters.lab.standby(pair.publisher.node)
    node.promote()
    clone = Pair(pair.publisher, Database(node, pair.subscriber.name))
    async with both(clone, colour) as (publisher, subscriber):
        clone.subscriber.run("ALTER TABLE two RENAME TO three")
        with pytest.raises(pgreplkit.errors.TableNotFound, match=r"public\.two"):
            await subscribed(clone, subscriber)
        assert "s" not in [slot.name for slot in await publisher.slots()]
        clone.subscriber.run("ALTER TABLE three RENAME TO two")
        subscription = await subscribed(clone, subscriber)
        await subscription.wait_for_sync(timeout=60)
        await subscription.drop()


async def test_no_error_repeats_a_password(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber, SubscriptionOptions(enabled=False))
        for malformed in ("host=x password=top s3cret", "host=x password='s3cret"):
            for change in (
                lambda: subscriber.create_subscription("t", malformed, ["p"]),  # noqa: B023
                lambda: subscription.set_connection(malformed),  # noqa: B023
            ):
                with pytest.raises(pgreplkit.errors.ConnectionFailed, match="malformed") as caught:
                    await change()
                assert "s3cret" not in printed(caught.value)


async def test_a_subscription_can_be_dropped_without_its_slot(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        await subscription.disable()
        await (await publisher.slot("s")).drop(force=True)
        status = await subscription.status(publisher)
        assert (status.slot, status.lag_bytes, len(status.ready_tables)) == (None, None, 2)
        dropped = await subscription.drop(timeout=20)
        assert dropped.slot_was_missing
        assert dropped.leftovers == ()
        assert await subscriber.subscriptions() == []


async def test_a_subscription_can_be_dropped_without_its_publisher(
    pair: Pair, colour: Colour, cluster: Cluster
) -> None:
    # A copy that cannot finish keeps the table from being ready; from 14 on it has a slot.
    pair.subscriber.run("INSERT INTO one VALUES (1, 'in the way')")
    async with both(pair, colour) as (publisher, subscriber):
        subscription = await subscribed(pair, subscriber)
        wait_until(lambda: bool(pair.subscriber.one("SELECT count(*) = 10 FROM two")))
        await subscription.set_connection("host=/nowhere dbname=x")
        with pytest.raises(pgreplkit.errors.PublisherUnreachable, match="publisher_gone=True"):
            await subscription.drop(timeout=10)
        await subscription.refresh()
        dropped = await subscription.drop(publisher_gone=True, timeout=20)
        assert await subscriber.subscriptions() == []
        main, *sync = dropped.leftovers
        assert (main.kind, main.name, main.where) == (LeftoverKind.SLOT, "s", "/nowhere")
        assert {left.kind for left in sync} <= {LeftoverKind.SYNC_SLOT}
        there = {slot.name for slot in await publisher.slots()}
        assert main.name in there
        assert bool(sync) == (cluster.major >= 14)
        for left in dropped.leftovers:
            wait_until(lambda name=left.name: not is_active(pair, name))  # type: ignore[misc]
            if left.name in there:
                pair.publisher.run(left.sql)
        own = [
            slot for slot in await publisher.slots() if slot.state.database == pair.publisher.name
        ]
        assert own == []


def is_active(pair: Pair, slot: str) -> object:
    sql = "SELECT coalesce(bool_or(active), false) FROM pg_replication_slots WHERE slot_name = "
    return pair.publisher.one(f"{sql}'{slot}'")


async def test_an_unprivileged_role_gets_an_error_with_the_missing_privilege(
    pair: Pair, colour: Colour
) -> None:
    async with await colour.primary(pair.subscriber.as_role("stranger")) as subscriber:
        with pytest.raises(pgreplkit.errors.InsufficientPrivilege, match="to allow it"):
            await subscribed(pair, subscriber)


async def test_calls_that_ask_the_publisher_are_refused_in_a_transaction(
    pair: Pair, colour: Colour
) -> None:
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber, SubscriptionOptions(enabled=False))
    ours = await colour.primary_on(pair.subscriber.conninfo, autocommit=False)
    for change in (
        (await ours.subscription("s")).drop,
        (await ours.subscription("s")).refresh_publications,
        ours.write_marker,
    ):
        with pytest.raises(pgreplkit.errors.ServerError, match="use an autocommit connection"):
            await change()
    # A call that needs no publisher is allowed in a transaction.
    await execute(ours.connection, "SELECT 1")
    await (await ours.subscription("s")).rename("t")
    await (await ours.subscription("t")).disable()
    await execute(ours.connection, "ROLLBACK")
    await close(ours.connection)
    async with both(pair, colour) as (_, subscriber):
        assert [s.name for s in await subscriber.subscriptions()] == [subscription.name]


async def test_waiting_for_a_position_that_is_not_reached_raises(
    pair: Pair, colour: Colour
) -> None:
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        with pytest.raises(pgreplkit.errors.SubscriptionStuck, match="timed out after"):
            await subscription.wait_for_catchup(LSN.MAX, timeout=0.2)


async def test_a_connected_publisher_keeps_all_hosts_and_parameters(
    pair: Pair, colour: Colour
) -> None:
    parts = conninfo_to_dict(pair.publisher.conninfo)
    ours = {
        "host": f"{parts['host']},{parts['host']}",
        "port": f"{parts['port']},{parts['port']}",
        "target_session_attrs": "read-write",
        "options": "-c row_security=off",
        "keepalives_idle": "7",
        "connect_timeout": "3",
    }
    given = make_conninfo(pair.publisher.conninfo, **ours, application_name="migration")
    async with (
        await colour.primary(given) as publisher,
        await colour.primary(pair.subscriber.conninfo) as subscriber,
    ):
        server: Any = getattr(publisher, "_target", publisher)
        subscription = await subscriber.create_subscription("s", server, ["p"])
        await subscription.wait_for_sync(timeout=60)
        stored = conninfo_to_dict(
            str(pair.subscriber.one("SELECT subconninfo FROM pg_subscription"))
        )
        assert {name: stored[name] for name in ours} == ours
        assert not {"application_name", "hostaddr", "passfile"} & stored.keys()
        await subscription.drop()


def test_a_moved_origin_survives_a_crash(database: Database) -> None:
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("SELECT pg_replication_origin_create('moved')")
        with connection.transaction():
            connection.execute(ADVANCE_ORIGIN, ["moved", "0/99"])
            moved = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
        flushed = connection.execute("SELECT pg_current_wal_flush_lsn() > %s", moved).fetchone()
        connection.execute("SELECT pg_replication_origin_drop('moved')")
    assert flushed == (True,)
