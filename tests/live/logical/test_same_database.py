"""One database as publisher and subscriber is refused; a promoted clone of it is another one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from clusters import Cluster, Clusters
from colours import Colour, inner
from databases import Pair
from psycopg.conninfo import make_conninfo
from relays import Relay

import pgreplkit
from pgreplkit import AsyncPrimary, SubscriptionOptions
from pgreplkit.apply import Applier
from pgreplkit.errors import ServerError, SlotNotFound
from pgreplkit.mesh import Mesh
from pgreplkit.rows import Severity
from pgreplkit.upgrade import Upgrade

pytestmark = pytest.mark.one_colour
LEFT = """SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()
    UNION ALL SELECT subname::text FROM pg_subscription WHERE subname = 's'"""


async def test_a_database_is_not_compared_with_itself(pair: Pair, colour: Colour) -> None:
    # As a proxy or another name of the host leads to the same server.
    with Relay(pair.publisher.node.port) as relay:
        async with (
            await colour.primary(pair.publisher.conninfo) as one,
            await colour.primary(relay.conninfo_of(pair.publisher.conninfo)) as other,
        ):
            for tables in (None, ["one"]):
                for step in comparisons(one, other, tables):
                    with pytest.raises(ServerError, match=r"lead to the database .* of one server"):
                        await step()
    assert pair.rows("one") == (1000, 0)


def comparisons(
    one: AsyncPrimary, other: AsyncPrimary, tables: list[str] | None
) -> list[Callable[[], Awaitable[object]]]:
    here, there = inner(one), inner(other)

    async def compared() -> object:
        if isinstance(here, pgreplkit.Server) and isinstance(there, pgreplkit.Server):
            return [*pgreplkit.compare(here, there, tables)]
        return [part async for part in pgreplkit.acompare(one, other, tables)]

    async def drift() -> object:
        if isinstance(here, pgreplkit.Server) and isinstance(there, pgreplkit.Server):
            return pgreplkit.schema_drift(here, there, tables)
        return await pgreplkit.aschema_drift(one, other, tables)

    async def sequences() -> object:
        if isinstance(here, pgreplkit.Server) and isinstance(there, pgreplkit.Server):
            return pgreplkit.SequencePlan.read(here, there)
        return await pgreplkit.AsyncSequencePlan.read(one, other)

    async def schema() -> None:
        if isinstance(here, pgreplkit.Server) and isinstance(there, pgreplkit.Server):
            pgreplkit.copy_schema(here, there)
            return
        await pgreplkit.acopy_schema(one, other)

    async def readiness() -> object:
        return await other.check_subscriber_readiness(one, tables=tables)

    return [compared, drift, sequences, schema, readiness]


async def test_a_subscription_is_not_connected_to_a_publisher_without_its_slot(
    pair: Pair, cluster: Cluster, colour: Colour
) -> None:
    publisher, subscriber = pair.publisher, pair.subscriber
    async with await colour.primary(subscriber.conninfo) as server:
        subscription = await server.create_subscription("s", publisher.conninfo, ["p"])
        before = "SELECT subconninfo FROM pg_subscription WHERE subname = 's'"
        kept = subscriber.one(before)
        cluster.catch_up()
        other = make_conninfo(publisher.conninfo, dbname="postgres")
        standby = make_conninfo(subscriber.conninfo, port=cluster.standby.port)
        for conninfo, kind, found in (
            (subscriber.conninfo, ServerError, "the publisher is the subscriber's own database"),
            (standby, ServerError, "the publisher is a standby of the subscriber"),
            (other, SlotNotFound, f"'s' belongs to the database '{publisher.name}', and"),
        ):
            with pytest.raises(kind, match=found):
                await subscription.set_connection(conninfo)
        assert subscriber.one(before) == kept
        # Another address of the same database.
        with Relay(cluster.primary.port) as relay:
            await subscription.set_connection(relay.conninfo_of(publisher.conninfo))
            assert subscriber.one(before) != kept
            await subscription.set_connection(publisher.conninfo)
        await subscription.drop()


async def test_a_database_does_not_subscribe_to_itself(
    pair: Pair, cluster: Cluster, colour: Colour
) -> None:
    pair.subscriber.run("CREATE PUBLICATION own FOR TABLE one")
    cluster.catch_up()
    with Relay(cluster.primary.port) as relay:
        publishers = {
            "the subscriber's own database": relay.port,
            "a standby of the subscriber": cluster.standby.port,
        }
        async with await colour.primary(pair.subscriber.conninfo) as subscriber:
            for what, port in publishers.items():
                conninfo = make_conninfo(pair.subscriber.conninfo, port=port)
                for create_slot in (None, False):
                    options = SubscriptionOptions(create_slot=create_slot)
                    with pytest.raises(ServerError, match=f"the publisher is {what}: changes"):
                        await subscriber.create_subscription("s", conninfo, ["own"], options)
                one = Applier(conninfo, pair.subscriber.conninfo, "one", publications=["own"])
                with pytest.raises(ServerError, match="would be applied to itself"):
                    one.run(timeout=5)
    assert pair.subscriber.all(LEFT) == []


@pytest.mark.matrix
def test_a_promoted_clone_is_another_database(
    pair: Pair, cluster: Cluster, clusters: Clusters
) -> None:
    clone = clusters.lab.standby(cluster.primary)
    try:
        Cluster(cluster.primary, clone).catch_up()
        clone.promote()
        old = pair.publisher.conninfo
        new = make_conninfo(old, port=clone.port)
        applier = Applier(old, new, "one", publications=["p"])
        assert applier.check()["two databases"].severity is Severity.OK
        mesh = Mesh({"old": old, "new": new}, tables=["one"])
        assert mesh.plan_create().check()["databases"].severity is Severity.OK
        with pgreplkit.Primary.connect(old) as here, pgreplkit.Primary.connect(new) as there:
            upgrade = Upgrade(here, there, name="move")
            assert upgrade.check()["databases"].severity is Severity.OK
            pgreplkit.schema_drift(here, there)
            options = SubscriptionOptions(copy_data=False)
            subscription = there.create_subscription("s", here, ["p"], options)
            pair.publisher.run("DELETE FROM two")
            subscription.wait_for_catchup(timeout=30)
            assert not [diff for part in pgreplkit.compare(here, there) for diff in part.diffs]
            subscription.drop()
    finally:
        clone.stop()


def test_an_upgrade_to_the_same_database_is_a_finding(pair: Pair) -> None:
    conninfo = pair.publisher.conninfo
    with pgreplkit.Primary.connect(conninfo) as old, pgreplkit.Primary.connect(conninfo) as new:
        found = Upgrade(old, new, name="move").check()["databases"]
        one = f"one database, {pair.publisher.name}"
        assert (found.severity, found.found) == (Severity.CRITICAL, one)


def test_two_nodes_of_a_mesh_that_are_one_database_are_a_finding(pair: Pair) -> None:
    with Relay(pair.publisher.node.port) as relay:
        nodes = {
            "a": pair.publisher.conninfo,
            "b": pair.subscriber.conninfo,
            "vip": relay.conninfo_of(pair.publisher.conninfo),
        }
        found = Mesh(nodes, tables=["one"]).plan_create().check()["databases"]
    assert found.severity is Severity.CRITICAL
    assert found.found == f"a and vip are the database {pair.publisher.name} of one server"
