"""Why subscriptions are stuck: each reason is provoked and reported."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import psycopg
import pytest
from clusters import Cluster, Clusters, soon, wait_until
from colours import Colour
from databases import Pair, both, make_pair, remove_databases, subscribed

import pgreplkit
from pgreplkit import LSN, AsyncPrimary, AsyncSubscription, SubscriptionOptions, TableName
from pgreplkit.rows import Rows, StuckReason, SubscriptionProblem

pytestmark = pytest.mark.one_colour


async def stuck(
    subscription: AsyncSubscription, timeout: float = 0.0
) -> pgreplkit.errors.SubscriptionStuck:
    with pytest.raises(pgreplkit.errors.SubscriptionStuck) as caught:
        await subscription.wait_for_sync(timeout=timeout)
    return caught.value


async def wait_for_reasons(
    subscription: AsyncSubscription, wanted: StuckReason
) -> Rows[SubscriptionProblem]:
    """Wait for these reasons: during a retry of a copy its reason is not visible."""
    found = await soon(subscription.diagnose, lambda found: wanted in {one.reason for one in found})
    assert wanted in {one.reason for one in found}
    return found


def is_unused(pair: Pair) -> bool:
    """Return whether the walsender has let go of the slot, a moment after its worker has ended."""
    return (
        pair.publisher.one("SELECT active FROM pg_replication_slots WHERE slot_name = 's'") is False
    )


async def reasons_of(subscription: AsyncSubscription) -> list[StuckReason]:
    return [one.reason for one in await subscription.diagnose()]


@pytest.mark.matrix
async def test_existing_rows_make_a_copy_fail(pair: Pair, colour: Colour) -> None:
    pair.subscriber.run("INSERT INTO one VALUES (5, 'in the way')")
    async with both(pair, colour) as (publisher, subscriber):
        subscription = await subscribed(pair, subscriber)
        ready = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate = 'r'"
        wait_until(lambda: pair.subscriber.one(ready) == 1)
        error = await stuck(subscription, timeout=2)
        assert "1 of 2 tables (public.one)" in str(error)
        [reason] = await wait_for_reasons(subscription, StuckReason.ROWS_EXIST)
        assert reason.table == TableName("public", "one")
        assert "TRUNCATE public.one" in reason.remedy
        # Changes of a table that is not copied are not applied.
        lsn = await publisher.write_marker()
        await (await publisher.slot("s")).wait_for_catchup(lsn, timeout=30)
        with pytest.raises(pgreplkit.errors.SubscriptionStuck, match="1 of 2 tables"):
            await subscription.wait_for_catchup(lsn, timeout=2)
        pair.subscriber.run_between_copies("TRUNCATE one")
        await subscription.wait_for_catchup(timeout=30)
        assert pair.rows("one") == (1000, 1000)


@pytest.mark.matrix
async def test_a_subscription_that_is_only_behind_is_reported_so(
    pair: Pair, colour: Colour
) -> None:
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        # The first transactions are applied before the timeout, and the last ones are not.
        pair.subscriber.run(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(2); RETURN new; END $$",
            "CREATE TRIGGER slow BEFORE INSERT ON two FOR EACH ROW EXECUTE PROCEDURE slow()",
            "ALTER TABLE two ENABLE ALWAYS TRIGGER slow",
        )
        pair.publisher.run(*(f"INSERT INTO two VALUES ({number})" for number in range(-9, 0)))
        with pytest.raises(pgreplkit.errors.SubscriptionStuck) as behind:
            await subscription.wait_for_catchup(timeout=3)
        [reason] = behind.value.reasons
        assert reason.reason is StuckReason.UNKNOWN
        assert reason.remedy.startswith("if its lag falls, it is only behind")
        pair.subscriber.run(
            "CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN RETURN new; END'"
        )
        await subscription.wait_for_catchup(timeout=60)


@pytest.mark.matrix
async def test_the_session_that_locks_a_table_is_reported(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        with psycopg.connect(pair.subscriber.conninfo) as locking:
            locking.execute("LOCK two")
            pair.publisher.run("INSERT INTO two VALUES (-1)")
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'two'::regclass"
            wait_until(lambda: pair.subscriber.one(waits) == 1)
            with pytest.raises(pgreplkit.errors.SubscriptionStuck) as waiting:
                await subscription.wait_for_catchup(timeout=1)
            [reason] = waiting.value.reasons
            assert reason.reason is StuckReason.LOCKED
            holder = f"process {locking.info.backend_pid} of postgres, idle in transaction"
            assert reason.found.endswith(holder)
        await subscription.wait_for_catchup(timeout=60)


async def test_a_disabled_or_detached_subscription_is_stuck(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        options = SubscriptionOptions(enabled=False)
        subscription = await subscribed(pair, subscriber, options)
        error = await stuck(subscription, timeout=60)  # at once: waiting would not help
        assert [r.reason for r in error.reasons] == [StuckReason.DISABLED]
        await subscription.enable()
        await subscription.wait_for_sync(timeout=60)
        await subscription.disable()
        wait_until(lambda: is_unused(pair))
        pair.publisher.run("UPDATE two SET id = -1 WHERE id = 1")
        with pytest.raises(pgreplkit.errors.SubscriptionStuck, match="unused") as caught:
            await subscription.wait_for_catchup(timeout=60)  # at once, too
        assert [r.reason for r in caught.value.reasons] == [StuckReason.DISABLED]
        await subscription.detach_slot()
        assert subscription.state.subslotname is None
        assert await reasons_of(subscription) == [StuckReason.DETACHED, StuckReason.DISABLED]
        with pytest.raises(pgreplkit.errors.ServerError, match="attach_slot"):
            await subscription.wait_for_catchup()
        await subscription.attach_slot("s")
        await subscription.enable()
        pair.publisher.run("DELETE FROM two")
        await subscription.wait_for_catchup(timeout=30)
        assert pair.rows("two") == (0, 0)
        assert (await publisher.slot("s")).state.active


@pytest.mark.matrix
async def test_a_missing_publication_or_slot_is_reported(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        await subscription.disable()
        await (await publisher.slot("s")).drop(force=True)
        pair.publisher.run("DROP PUBLICATION p")
        await subscription.enable()
        found = await reasons_of(subscription)
        assert found == [StuckReason.PUBLICATION_MISSING, StuckReason.SLOT_MISSING]
        with pytest.raises(pgreplkit.errors.SlotNotFound):
            await subscription.wait_for_catchup(timeout=1)
        await subscription.set_connection("host=/nowhere dbname=x")
        [reason] = await subscription.diagnose()
        assert reason.reason is StuckReason.PUBLISHER_UNREACHABLE
        assert "/nowhere" in reason.found


@pytest.mark.matrix
async def test_a_slot_used_by_another_client_is_reported(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        await subscription.disable()
        conninfo = psycopg.conninfo.make_conninfo(pair.publisher.conninfo, replication="database")
        wait_until(lambda: is_unused(pair))
        thief = psycopg.pq.PGconn.connect(conninfo.encode())
        thief.exec_(
            b"START_REPLICATION SLOT s LOGICAL 0/0 (proto_version '1', publication_names 'p')"
        )
        await subscription.enable()
        try:
            assert await reasons_of(subscription) == [StuckReason.SLOT_TAKEN]
        finally:
            thief.finish()


@pytest.mark.matrix
async def test_old_transactions_block_slot_creation(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        slot = await publisher.create_logical_slot("s")
        with psycopg.connect(pair.publisher.conninfo) as old:
            old.execute("INSERT INTO two VALUES (1000)")
            # A copy's slot waits for the transaction; the subscription's slot existed before.
            subscription = await subscribed(
                pair, subscriber, SubscriptionOptions(create_slot=False, slot_name=slot.name)
            )
            made = "SELECT count(*) FROM pg_replication_slots WHERE confirmed_flush_lsn IS NULL"
            copying = f"{made} AND slot_name ~ '_sync_'"
            wait_until(lambda: int(str(pair.publisher.one(copying))) > 0)
            error = await stuck(subscription, timeout=0.5)
            reported = [r for r in error.reasons if r.reason is StuckReason.OLD_TRANSACTION]
            assert f"process {old.info.backend_pid} of postgres" in reported[0].found
            old.rollback()
        await subscription.wait_for_sync(timeout=60)


@pytest.mark.matrix
async def test_a_missing_table_is_reported(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        pair.subscriber.run("ALTER TABLE two RENAME TO three")
        [reason] = await subscription.diagnose()
        assert reason.reason is StuckReason.TABLE_MISSING
        assert reason.table == TableName("public", "two")


async def test_missing_privileges_of_the_roles_are_reported(pair: Pair, colour: Colour) -> None:
    pair.publisher.run(
        "CREATE ROLE copier LOGIN REPLICATION PASSWORD 'copier'",
        "GRANT SELECT ON one TO copier",
    )
    try:
        async with both(pair, colour) as (_, subscriber):
            options = SubscriptionOptions(enabled=False)
            subscription = await subscriber.create_subscription(
                "s", pair.publisher.as_role("copier"), ["p"], options
            )
            found = {(r.reason, str(r.table)) for r in await subscription.diagnose()}
            assert (StuckReason.PERMISSION, "public.two") in found
            assert (StuckReason.PERMISSION, "public.one") not in found
            await subscription.drop()
    finally:
        pair.publisher.run("DROP OWNED BY copier", "DROP ROLE copier")


@pytest.mark.pg(">=16")
async def test_an_owner_without_write_privileges_is_reported(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (_, subscriber):
        options = SubscriptionOptions(password_required=False)
        subscription = await subscribed(pair, subscriber, options)
        await subscription.wait_for_sync(timeout=60)
        pair.subscriber.run(
            f"GRANT CREATE ON DATABASE {pair.subscriber.name} TO observer",
            "GRANT pg_create_subscription TO observer",
            "GRANT INSERT ON two TO observer",
        )
        await subscription.set_owner("observer")
        reported = {str(r.table) for r in await subscription.diagnose()}
        assert reported == {"public.one", "public.two"}
        await subscription.set_options(SubscriptionOptions(run_as_owner=True))
        [reason] = await subscription.diagnose()
        assert (reason.reason, str(reason.table)) == (StuckReason.PERMISSION, "public.one")
        pair.subscriber.run("GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON one TO observer")
        assert await reasons_of(subscription) == [StuckReason.UNKNOWN]
        await subscription.set_options(SubscriptionOptions(run_as_owner=False))
        await subscription.set_owner("postgres")
        pair.subscriber.run(
            "ALTER TABLE two OWNER TO observer",
            "ALTER TABLE two ENABLE ROW LEVEL SECURITY",
        )
        assert await reasons_of(subscription) == [StuckReason.UNKNOWN]
        pair.subscriber.run("ALTER TABLE two FORCE ROW LEVEL SECURITY")
        [reason] = await subscription.diagnose()
        assert (reason.reason, str(reason.table)) == (StuckReason.PERMISSION, "public.two")
        await subscription.drop()
        pair.subscriber.run(
            f"REVOKE CREATE ON DATABASE {pair.subscriber.name} FROM observer",
            "REVOKE pg_create_subscription FROM observer",
        )


@pytest.mark.matrix
async def test_a_transaction_that_cannot_be_applied_is_skipped(
    pair: Pair, colour: Colour, cluster: Cluster
) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        await publisher.create_logical_slot("finder")
        pair.subscriber.run("INSERT INTO two VALUES (500)")
        pair.publisher.run("INSERT INTO two VALUES (500), (501)")
        pair.publisher.run("INSERT INTO two VALUES (502)")
        if cluster.major >= 15:
            wait_until(
                lambda: bool(
                    pair.subscriber.one(
                        "SELECT apply_error_count > 0 FROM pg_stat_subscription_stats"
                        f" WHERE subid = {subscription.state.oid}"
                    )
                )
            )
        with pytest.raises(pgreplkit.errors.SubscriptionStuck) as caught:
            await subscription.wait_for_catchup(timeout=1)
        found = {r.reason for r in caught.value.reasons}
        # Before 15 the worker may be retrying right now, and no counter has the earlier tries.
        unknown = {StuckReason.UNKNOWN} if cluster.major < 15 else set()
        assert found <= {StuckReason.FAILING_TRANSACTION} | unknown
        await subscription.skip(await finish_of_the_first(publisher, "finder"))
        await subscription.wait_for_catchup(timeout=60)
        left = pair.subscriber.all("SELECT id FROM two WHERE id >= 500 ORDER BY 1")
        assert left == [(500,), (502,)]
        with pytest.raises(TypeError):
            await subscription.skip("0/5")  # type: ignore[arg-type]


async def finish_of_the_first(publisher: AsyncPrimary, slot: str) -> LSN:
    """Return the final LSN in the begin message of the first transaction with changes."""
    options = {"proto_version": "1", "publication_names": "p"}
    begin = None
    for change in await (await publisher.slot(slot)).peek(options=options):
        if change.data[:1] == b"B":
            begin = LSN.from_bytes(change.data[1:9])
        if change.data[:1] == b"I":
            break
    assert begin is not None
    return begin


@pytest.fixture
def forgetful(clusters: Clusters, cluster: Cluster) -> Iterator[Pair]:
    """A publisher that retains little WAL for its slots."""
    settings = {"wal_level": "logical", "max_slot_wal_keep_size": "16MB", "max_wal_size": "32MB"}
    node = clusters.lab.primary(version=cluster.major, settings=settings)
    pair = make_pair(node, cluster.primary)
    yield pair
    remove_databases(pair.subscriber, pair.publisher)


@pytest.mark.matrix
@pytest.mark.pg(">=13")
async def test_a_slot_that_lost_its_wal_is_reported(forgetful: Pair, colour: Colour) -> None:
    async with both(forgetful, colour) as (publisher, subscriber):
        subscription = await subscribed(forgetful, subscriber)
        await subscription.wait_for_sync(timeout=60)
        await subscription.disable()
        fill = "SELECT pg_logical_emit_message(false, 'x', repeat('x', 8000000))"
        while not (await publisher.slot("s")).state.is_lost:
            forgetful.publisher.run(fill, "SELECT pg_switch_wal()", "CHECKPOINT")
        await subscription.enable()
        assert StuckReason.SLOT_LOST in await reasons_of(subscription)
        with pytest.raises(pgreplkit.errors.SlotLost):
            await subscription.wait_for_catchup(timeout=5)
        assert (await subscription.drop(timeout=20)).name == "s"


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A host that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield f"host=127.0.0.1 port={server.getsockname()[1]} dbname=x user=y"


@pytest.mark.parametrize("enabled", [True, pytest.param(False, marks=pytest.mark.matrix)])
async def test_dropping_does_not_hang_on_a_silent_publisher(
    pair: Pair, colour: Colour, black_hole: str, enabled: bool
) -> None:
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber, SubscriptionOptions(enabled=enabled))
        await subscription.set_connection(black_hole)
        with pytest.raises(pgreplkit.errors.PublisherUnreachable, match="no answer in 1 s"):
            await subscription.drop(timeout=1)
        await subscription.refresh()
        dropped = await subscription.drop(publisher_gone=True, timeout=20)
        assert dropped.leftovers[0].name == "s"
        assert dropped.leftovers[0].where.startswith("127.0.0.1:")
        assert await subscriber.subscriptions() == []


@pytest.mark.matrix
async def test_a_silent_publisher_is_reported(pair: Pair, colour: Colour, black_hole: str) -> None:
    async with both(pair, colour) as (_, subscriber):
        with pytest.raises(pgreplkit.errors.PublisherUnreachable, match="no answer in 1 s"):
            await subscriber.create_subscription("s", black_hole, ["p"], timeout=1)
        assert await subscriber.subscriptions() == []


@pytest.fixture
def small(clusters: Clusters, cluster: Cluster) -> Iterator[Pair]:
    """A subscriber with one worker for all subscriptions."""
    settings = {"max_logical_replication_workers": "1"}
    node = clusters.lab.primary(version=cluster.major, settings=settings)
    pair = make_pair(cluster.primary, node)
    yield pair
    remove_databases(pair.subscriber, pair.publisher)


@pytest.mark.matrix
async def test_a_subscription_without_a_free_worker_is_reported(
    small: Pair, colour: Colour
) -> None:
    async with both(small, colour) as (_, subscriber):
        subscription = await subscribed(small, subscriber)
        wait_until(
            lambda: bool(
                small.subscriber.one(
                    "SELECT count(*) > 0 FROM pg_stat_subscription WHERE pid IS NOT NULL"
                )
            )
        )
        error = await stuck(subscription, timeout=1)
        [reason] = error.reasons
        assert reason.reason is StuckReason.NO_WORKER_FREE
        assert "max_logical_replication_workers is 1" in reason.found
        await subscription.drop(timeout=20)


@pytest.mark.matrix
async def test_each_exhausted_setting_is_reported(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    origins = "max_replication_slots" if cluster.major < 18 else "max_active_replication_origins"
    full = {
        "max_worker_processes": StuckReason.NO_WORKER_FREE,
        "max_sync_workers_per_subscription": StuckReason.NO_WORKER_FREE,
        **({origins: StuckReason.NO_WORKER_FREE} if cluster.major >= 14 else {}),
    }
    for setting, wanted in full.items():
        bound = {setting: "0" if "sync" in setting else "1", "max_parallel_workers": "0"}
        node = clusters.lab.primary(version=cluster.major, settings=bound)
        await stuck_with_timeout(make_pair(cluster.primary, node), colour, setting, wanted)
        clusters.lab.remove(node)
    for setting in ("max_replication_slots", "max_wal_senders"):
        bound = {"wal_level": "logical", setting: "1"}
        node = clusters.lab.primary(version=cluster.major, settings=bound)
        pair = make_pair(node, cluster.primary)
        await stuck_with_timeout(pair, colour, setting, StuckReason.PUBLISHER_FULL)
        clusters.lab.remove(node)


async def stuck_with_timeout(pair: Pair, colour: Colour, setting: str, wanted: StuckReason) -> None:
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber)
        await stuck(subscription, timeout=2)
        [reason] = await wait_for_reasons(subscription, wanted)
        assert setting in reason.found
        await subscription.drop(timeout=20)
    remove_databases(pair.subscriber, pair.publisher)


@pytest.mark.matrix
async def test_a_missing_column_is_reported(pair: Pair, colour: Colour, cluster: Cluster) -> None:
    pair.subscriber.run("ALTER TABLE one DROP COLUMN name")
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber)
        error = await stuck(subscription, timeout=2)
        [reason] = error.reasons
        assert (reason.reason, reason.table) == (
            StuckReason.COLUMN_MISSING,
            TableName("public", "one"),
        )
        assert "columns name" in reason.found
        pair.subscriber.run_between_copies("ALTER TABLE one ADD name text")
        await subscription.wait_for_sync(timeout=30)
        if cluster.major >= 15:
            pair.publisher.run("ALTER PUBLICATION p SET TABLE one (id), two")
            pair.subscriber.run("ALTER TABLE one DROP COLUMN name")
            assert await reasons_of(subscription) == [StuckReason.UNKNOWN]


async def test_a_table_not_yet_in_the_subscription_is_reported(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        for each in (pair.publisher, pair.subscriber):
            each.run("CREATE TABLE late (id int PRIMARY KEY)")
        pair.publisher.run("ALTER PUBLICATION p ADD TABLE late")
        [reason] = await subscription.diagnose()
        assert (reason.reason, str(reason.table)) == (StuckReason.TABLE_NOT_TAKEN, "public.late")
        await subscription.refresh_publications()
        await subscription.wait_for_sync(timeout=60)
        assert await reasons_of(subscription) == [StuckReason.UNKNOWN]


@pytest.mark.pg(">=15")
async def test_a_copy_that_fails_for_another_reason_is_reported(pair: Pair, colour: Colour) -> None:
    pair.subscriber.run("ALTER TABLE one ADD CHECK (id < 500)")
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber)
        wait_until(
            lambda: bool(
                pair.subscriber.one(
                    "SELECT sync_error_count > 0 FROM pg_stat_subscription_stats"
                    f" WHERE subid = {subscription.state.oid}"
                )
            )
        )
        await stuck(subscription, timeout=0.5)
        [_] = await wait_for_reasons(subscription, StuckReason.FAILING_COPY)


@pytest.fixture
def logged(clusters: Clusters, cluster: Cluster) -> Iterator[Pair]:
    """A subscriber whose log can be read by SQL."""
    settings = {"logging_collector": "on", "wal_retrieve_retry_interval": "500ms"}
    node = clusters.lab.primary(version=cluster.major, settings=settings)
    pair = make_pair(cluster.primary, node)
    yield pair
    remove_databases(pair.subscriber, pair.publisher)


@pytest.mark.matrix
async def test_the_failing_transaction_is_found_read_and_skipped(
    logged: Pair, colour: Colour, cluster: Cluster
) -> None:
    pair = logged
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        assert await subscription.failure(timeout=0.5) is None
        pair.subscriber.run("INSERT INTO two VALUES (500)", "DELETE FROM one WHERE id = 1")
        pair.publisher.run("CREATE TABLE unpublished (a int)", "INSERT INTO unpublished VALUES (1)")
        with psycopg.connect(pair.publisher.conninfo) as connection:
            connection.execute("UPDATE one SET name = NULL WHERE id = 2")
            connection.execute("DELETE FROM one WHERE id = 3")
            connection.execute("INSERT INTO two VALUES (500)")
            connection.commit()
            [xid] = connection.execute("SELECT txid_current()").fetchone() or [0]
        pair.publisher.run("INSERT INTO two VALUES (501)")
        if cluster.major >= 15:
            failing = f"subid = {subscription.state.oid} AND apply_error_count > 0"
            counted = f"SELECT count(*) > 0 FROM pg_stat_subscription_stats WHERE {failing}"
            wait_until(lambda: bool(pair.subscriber.one(counted)))
        # A separate process writes the log a moment later.
        failed = await soon(
            lambda: subscription.failure(timeout=30),
            lambda found: cluster.major < 15 or (found is not None and found.error is not None),
        )
        assert failed is not None
        assert failed.xid < int(str(xid))
        reported = [(c.operation.value, c.table.name, c.old, c.new) for c in failed.changes]
        assert reported == [
            ("update", "one", None, {"id": "2", "name": None}),
            ("delete", "one", {"id": "3"}, None),
            ("insert", "two", None, {"id": "500"}),
        ]
        if cluster.major >= 15:
            assert failed.error is not None
            assert "two_pkey" in failed.error
            assert "INSERT" in failed.error
        await subscription.skip(failed.finish_lsn)
        await subscription.wait_for_catchup(timeout=60)
        left = pair.subscriber.all("SELECT id FROM two WHERE id >= 500 ORDER BY 1")
        assert left == [(500,), (501,)]
        assert await subscription.failure(timeout=0.5) is None


async def test_a_slot_older_than_its_publication_is_reported(
    pair: Pair, colour: Colour, cluster: Cluster
) -> None:
    pair.publisher.run("DROP PUBLICATION p")
    async with both(pair, colour) as (publisher, subscriber):
        await publisher.create_logical_slot("early")
        pair.publisher.run("INSERT INTO two VALUES (11)")
        await publisher.create_publication("p", tables=["one", "two"])
        options = SubscriptionOptions(create_slot=False, slot_name="early", copy_data=False)
        subscription = await subscribed(pair, subscriber, options)
        if cluster.major >= 18:
            # A missing publication is ignored.
            await subscription.wait_for_catchup(timeout=30)
            return
        with pytest.raises(
            pgreplkit.errors.PublicationNotFound, match="older than the publication"
        ):
            await subscription.failure(timeout=30)


@pytest.mark.pg(">=16")
async def test_a_transaction_filtered_by_origin_is_not_the_failing_one(
    pair: Pair, colour: Colour
) -> None:
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        # By another session: the state that was read before does not say so. Disabled, because a
        # worker that meets the filtered transaction alone confirms it.
        pair.subscriber.run(
            "ALTER SUBSCRIPTION s DISABLE",
            "ALTER SUBSCRIPTION s SET (origin = none)",
            "INSERT INTO two VALUES (21)",
        )
        pair.publisher.run(
            "SELECT pg_replication_origin_create('elsewhere')",
        )
        with psycopg.connect(pair.publisher.conninfo) as connection:
            connection.execute("SELECT pg_replication_origin_session_setup('elsewhere')")
            connection.execute("INSERT INTO two VALUES (20)")
            connection.commit()
            connection.execute("SELECT pg_replication_origin_session_reset()")
        pair.publisher.run(
            "SELECT pg_replication_origin_drop('elsewhere')", "INSERT INTO two VALUES (21)"
        )
        pair.subscriber.run("ALTER SUBSCRIPTION s ENABLE")
        failed = await subscription.failure(timeout=30)
        assert failed is not None
        assert [change.new for change in failed.changes] == [{"id": "21"}]


@pytest.fixture
def preparing(clusters: Clusters, cluster: Cluster) -> Iterator[Pair]:
    """Two databases of a server that allows prepared transactions."""
    settings = {
        "wal_level": "logical",
        "max_prepared_transactions": "5",
        "wal_retrieve_retry_interval": "500ms",
    }
    node = clusters.lab.primary(version=cluster.major, settings=settings)
    pair = make_pair(node, node)
    yield pair
    remove_databases(pair.subscriber, pair.publisher)


@pytest.mark.pg(">=15")
@pytest.mark.matrix
async def test_a_failing_prepared_transaction_is_skipped(preparing: Pair, colour: Colour) -> None:
    pair = preparing
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber, SubscriptionOptions(two_phase=True))
        await subscription.wait_for_sync(timeout=60)
        await subscription.wait_for_catchup(timeout=30)
        wait_until(
            lambda: bool(pair.subscriber.one("SELECT subtwophasestate = 'e' FROM pg_subscription"))
        )
        pair.publisher.run("BEGIN; INSERT INTO two VALUES (30); PREPARE TRANSACTION 'well'")
        pair.publisher.run("COMMIT PREPARED 'well'")
        await subscription.wait_for_catchup(timeout=30)
        pair.subscriber.run("INSERT INTO two VALUES (31)")
        pair.publisher.run("BEGIN; INSERT INTO two VALUES (31), (32); PREPARE TRANSACTION 'ill'")
        failed = await subscription.failure(timeout=30)
        assert failed is not None
        assert [change.new for change in failed.changes] == [{"id": "31"}, {"id": "32"}]
        await subscription.skip(failed.finish_lsn)
        pair.publisher.run("COMMIT PREPARED 'ill'")
        await subscription.wait_for_catchup(timeout=30)
        left = pair.subscriber.all("SELECT id FROM two WHERE id >= 30 ORDER BY 1")
        assert left == [(30,), (31,)]
