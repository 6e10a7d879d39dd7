"""Functions with default tables never check no table, nor only a part of the rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import psycopg
import pytest
from colours import Colour, inner
from databases import Pair, both, subscribed

import pgreplkit
from pgreplkit import AsyncPrimary, SubscriptionOptions, TableName
from pgreplkit.errors import SubscriptionStuck
from pgreplkit.rows import DiffKind, RowDiff, SchemaDrift

pytestmark = pytest.mark.one_colour


async def compared(
    publisher: AsyncPrimary, subscriber: AsyncPrimary, tables: Iterable[str] | None = None
) -> list[RowDiff]:
    here, there = inner(publisher), inner(subscriber)
    if isinstance(here, pgreplkit.Server) and isinstance(there, pgreplkit.Server):
        return [diff for part in pgreplkit.compare(here, there, tables) for diff in part.diffs]
    parts = pgreplkit.acompare(publisher, subscriber, tables)
    return [diff async for part in parts for diff in part.diffs]


async def drift_of(
    publisher: AsyncPrimary, subscriber: AsyncPrimary, tables: Iterable[str] | None = None
) -> SchemaDrift:
    here, there = inner(publisher), inner(subscriber)
    if isinstance(here, pgreplkit.Server) and isinstance(there, pgreplkit.Server):
        return pgreplkit.schema_drift(here, there, tables)
    return await pgreplkit.aschema_drift(publisher, subscriber, tables)


async def sequence_plan(
    publisher: AsyncPrimary, subscriber: AsyncPrimary, sequences: Iterable[str]
) -> object:
    here, there = inner(publisher), inner(subscriber)
    if isinstance(here, pgreplkit.Server) and isinstance(there, pgreplkit.Server):
        return pgreplkit.SequencePlan.read(here, there, sequences=sequences)
    return await pgreplkit.AsyncSequencePlan.read(publisher, subscriber, sequences=sequences)


async def test_without_a_subscription_the_published_tables_are_compared(
    pair: Pair, colour: Colour
) -> None:
    pair.subscriber.run("ALTER TABLE one DROP name")
    async with both(pair, colour) as (publisher, subscriber):
        drift = await drift_of(publisher, subscriber)
        assert [(str(d.table), d.name) for d in drift.drifts] == [("public.one", "name")]
        pair.subscriber.run("ALTER TABLE one ADD name text")
        diffs = await compared(publisher, subscriber)
        assert {diff.kind for diff in diffs} == {DiffKind.MISSING}
        assert len(diffs) == 1010
        pair.subscriber.run("DROP TABLE two")
        readiness = await subscriber.check_subscriber_readiness(publisher)
        assert readiness["table public.two"].found == "the subscriber does not have it"


async def test_nothing_to_compare_is_an_error(pair: Pair, colour: Colour) -> None:
    pair.publisher.run("ALTER PUBLICATION p DROP TABLE one, two")
    async with both(pair, colour) as (publisher, subscriber):
        checks: list[Callable[[], Awaitable[object]]] = [
            lambda: compared(publisher, subscriber),
            lambda: drift_of(publisher, subscriber),
            lambda: subscriber.check_subscriber_readiness(publisher),
        ]
        for check in checks:
            with pytest.raises(
                pgreplkit.errors.TableNotFound, match="no table is published by 'p'"
            ):
                await check()
        pair.publisher.run("DROP PUBLICATION p")
        for check in checks:
            with pytest.raises(pgreplkit.errors.PublicationNotFound, match="name the tables"):
                await check()
        for server in (publisher, subscriber):
            with pytest.raises(
                pgreplkit.errors.TableNotFound, match="neither subscribes to a table"
            ):
                await server.find_writers()


async def test_a_subscription_that_lost_its_only_publication_is_an_error(
    pair: Pair, colour: Colour
) -> None:
    # A subscription of the same database: of another publisher it would be passed over.
    pair.subscriber.run(
        "CREATE SUBSCRIPTION s CONNECTION 'dbname=x' PUBLICATION lost"
        " WITH (connect = false, slot_name = 'drift_lost')"
    )
    pair.publisher.run("SELECT pg_create_logical_replication_slot('drift_lost', 'pgoutput')")
    try:
        async with both(pair, colour) as (publisher, subscriber):
            for check in (compared, drift_of):
                with pytest.raises(pgreplkit.errors.PublicationNotFound, match="'s' names 'lost'"):
                    await check(publisher, subscriber)
    finally:
        pair.publisher.run("SELECT pg_drop_replication_slot('drift_lost')")
        pair.subscriber.run("ALTER SUBSCRIPTION s SET (slot_name = NONE)")
        pair.subscriber.run("DROP SUBSCRIPTION s")


async def test_unknown_tables_are_an_error(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        with pytest.raises(pgreplkit.errors.TableNotFound, match=r"no table public\.typo"):
            await subscriber.check_subscriber_readiness(publisher, ["one", "typo"])
        with pytest.raises(pgreplkit.errors.TableNotFound, match=r"no table public\.typo"):
            await subscriber.find_writers(["one", "typo"])


async def test_one_name_instead_of_several_is_refused(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        calls: list[Callable[[str], Awaitable[object]]] = [
            lambda name: compared(publisher, subscriber, name),
            lambda name: drift_of(publisher, subscriber, name),
            lambda name: sequence_plan(publisher, subscriber, name),
            lambda name: subscriber.check_subscriber_readiness(publisher, name),
            lambda name: subscriber.find_writers(name),
            lambda name: subscriber.replica_identity(name),
            lambda name: publisher.create_publication("q", tables=name),
            lambda name: publisher.create_publication("q", schemas=name),
            lambda name: publisher.create_publication("q", empty=True, publish=name),
            lambda name: subscriber.create_subscription("s", publisher, name),
        ]
        for call in calls:
            with pytest.raises(TypeError, match="several items, not one str"):
                await call("users")
        empty: list[Callable[[], Awaitable[object]]] = [
            lambda: compared(publisher, subscriber, []),
            lambda: drift_of(publisher, subscriber, []),
            lambda: sequence_plan(publisher, subscriber, []),
            lambda: subscriber.check_subscriber_readiness(publisher, []),
            lambda: subscriber.find_writers([]),
        ]
        for check in empty:
            with pytest.raises(ValueError, match="is empty"):
                await check()


async def test_writers_of_a_publisher_are_found_before_a_cutover(
    pair: Pair, colour: Colour
) -> None:
    pair.publisher.run("GRANT INSERT, UPDATE ON one TO observer")
    async with both(pair, colour) as (publisher, _):
        writers = await publisher.find_writers()
        assert [(str(g.table), g.privilege) for g in writers.grants] == [
            ("public.one", "INSERT"),
            ("public.one", "UPDATE"),
        ]
        assert writers.tables == (TableName("public", "one"), TableName("public", "two"))
        await publisher.revoke_writes(writers)
        with (
            psycopg.connect(pair.publisher.as_role("observer"), autocommit=True) as app,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            app.execute("INSERT INTO one VALUES (0)")


async def test_writers_through_a_partition_or_the_table_above_are_found(
    pair: Pair, colour: Colour
) -> None:
    pair.publisher.run(
        "CREATE TABLE parted (id int) PARTITION BY RANGE (id)",
        "CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE other PARTITION OF parted FOR VALUES FROM (10) TO (20)",
        "GRANT INSERT ON parted TO observer",
        "GRANT DELETE ON other TO observer",
    )
    async with both(pair, colour) as (publisher, _):
        above = await publisher.find_writers(["part"])
        assert [(g.table.name, g.privilege) for g in above.grants] == [("parted", "INSERT")]
        below = await publisher.find_writers(["parted"])
        assert [(g.table.name, g.privilege) for g in below.grants] == [
            ("other", "DELETE"),
            ("parted", "INSERT"),
        ]


async def test_a_subscription_without_tables_is_not_synchronized(
    pair: Pair, colour: Colour
) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        await publisher.create_publication("empty", empty=True)
        subscription = await subscriber.create_subscription(
            "s", pair.publisher.conninfo, ["empty"], SubscriptionOptions(copy_data=False)
        )
        assert not (await subscription.status()).is_synced
        with pytest.raises(SubscriptionStuck, match="the subscription has no table; add tables"):
            await subscription.wait_for_sync(timeout=60)


@asynccontextmanager
async def as_reader(pair: Pair, colour: Colour) -> AsyncIterator[tuple[AsyncPrimary, AsyncPrimary]]:
    """Connect to both servers as a role from which a policy hides some rows of table two."""
    for each in (pair.publisher, pair.subscriber):
        each.run(
            "GRANT SELECT ON one, two TO stranger",
            "ALTER TABLE two ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY partial ON two USING (id > 5)",
        )
    pair.publisher.run("ALTER ROLE stranger REPLICATION")
    # Before 14 not every role may read it.
    pair.subscriber.run("GRANT SELECT ON pg_subscription TO stranger")
    try:
        async with (
            await colour.primary(pair.publisher.as_role("stranger")) as publisher,
            await colour.primary(pair.subscriber.as_role("stranger")) as subscriber,
        ):
            yield publisher, subscriber
    finally:
        pair.publisher.run("ALTER ROLE stranger NOREPLICATION NOBYPASSRLS")
        pair.subscriber.run("REVOKE SELECT ON pg_subscription FROM stranger")


async def test_row_security_never_hides_rows_from_a_comparison(pair: Pair, colour: Colour) -> None:
    async with as_reader(pair, colour) as (publisher, subscriber):
        with pytest.raises(pgreplkit.errors.InsufficientPrivilege, match="BYPASSRLS") as error:
            await compared(publisher, subscriber, ["two"])
        assert "row level security hides rows of public.two" in str(error.value)
        assert error.value.grant == "BYPASSRLS"
        pair.publisher.run("ALTER ROLE stranger BYPASSRLS")
        assert len(await compared(publisher, subscriber, ["two"])) == 10


async def test_row_security_never_hides_rows_from_a_snapshot(pair: Pair, colour: Colour) -> None:
    async with as_reader(pair, colour) as (publisher, _):
        with pytest.raises(
            pgreplkit.errors.InsufficientPrivilege, match=r"ALTER ROLE .* BYPASSRLS"
        ):
            async with publisher.snapshot_then_changes("hidden", publications=["p"]):
                pass
        slots = "SELECT slot_name FROM pg_replication_slots WHERE slot_name = 'hidden'"
        assert pair.publisher.all(slots) == []
        pair.publisher.run("ALTER ROLE stranger BYPASSRLS")
        async with publisher.snapshot_then_changes("hidden", publications=["p"]) as stream:
            rows = 0
            async for change in stream:
                if isinstance(change, pgreplkit.changes.SnapshotEnd):
                    break
                rows += 1
        assert rows == 1010
        await (await publisher.slot("hidden")).drop(force=True)


async def test_a_policy_made_during_a_comparison_makes_it_fail(pair: Pair, colour: Colour) -> None:
    async with both(pair, colour) as (_, subscriber):
        await (await subscribed(pair, subscriber)).wait_for_sync(timeout=60)
    for each in (pair.publisher, pair.subscriber):
        each.run("GRANT SELECT ON one, two TO stranger")
    async with (
        await colour.primary(pair.publisher.as_role("stranger")) as publisher,
        await colour.primary(pair.subscriber.as_role("stranger")) as subscriber,
    ):
        parts = pgreplkit.acompare(publisher, subscriber, ["one"], range_rows=100)
        here, there = inner(publisher), inner(subscriber)
        if isinstance(here, pgreplkit.Server) and isinstance(there, pgreplkit.Server):
            twins = pgreplkit.compare(here, there, ["one"], range_rows=100)
            assert next(twins).rows == 100
            pair.publisher.run("ALTER TABLE one ENABLE ROW LEVEL SECURITY")
            with pytest.raises(pgreplkit.errors.InsufficientPrivilege, match="BYPASSRLS"):
                assert [*twins]
            return
        assert (await anext(parts)).rows == 100
        pair.publisher.run("ALTER TABLE one ENABLE ROW LEVEL SECURITY")
        with pytest.raises(pgreplkit.errors.InsufficientPrivilege, match="BYPASSRLS"):
            assert [part async for part in parts]
