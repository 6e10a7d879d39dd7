"""pglogical: two nodes of Debian's package are created, synchronized and dropped."""

from __future__ import annotations

import psycopg
import pytest
from clusters import Cluster, Clusters, soon, wait_until
from colours import Colour, inner, wrapped
from databases import Pair, both, make_pair

import pgreplkit
from pgreplkit import AsyncPrimary, PublishedTable, TableName
from pgreplkit.pglogical import AsyncPglogicalNode, PglogicalStatus, PglogicalSync

pytestmark = pytest.mark.pg("==15")
SETTINGS = {
    "wal_level": "logical",
    "shared_preload_libraries": "pglogical",
    "track_commit_timestamp": "on",
}


@pytest.fixture
def nodes(clusters: Clusters, cluster: Cluster) -> Pair:
    there = """SELECT count(*) FROM pg_available_extensions WHERE name = 'pglogical'"""
    with psycopg.connect(cluster.primary.conninfo) as connection:
        if connection.execute(there.encode()).fetchone() == (0,):
            pytest.skip("pglogical is not among this server's packages")
    pair = make_pair(
        *(clusters.lab.primary(version=15, settings=SETTINGS) for _ in range(2)),
    )
    for each in (pair.publisher, pair.subscriber):
        each.run("CREATE EXTENSION pglogical")
    return pair


async def node_of(server: AsyncPrimary, name: str) -> AsyncPglogicalNode:
    """Return the server's pglogical node, in the server's colour."""
    own = inner(server)
    if isinstance(own, pgreplkit.Server):
        return wrapped(pgreplkit.pglogical.PglogicalNode.create(own, name))  # type: ignore[return-value]
    return await AsyncPglogicalNode.create(server, name)


async def test_two_nodes_replicate_and_can_be_dropped(nodes: Pair, colour: Colour) -> None:
    pair = nodes
    pair.publisher.run("CREATE SEQUENCE numbers", "SELECT setval('numbers', 500)")
    pair.subscriber.run("CREATE SEQUENCE numbers")
    async with both(pair, colour) as (publisher, subscriber):
        provider = await node_of(publisher, "provider")
        sets = await provider.replication_sets()
        assert [s.set_name for s in sets] == ["ddl_sql", "default", "default_insert_only"]
        await provider.add_tables("one", PublishedTable("two", where="id > 5"))
        [one, two] = await provider.tables()
        assert one == PublishedTable("one")
        assert two.where == "(id > 5)"
        await provider.add_sequences("numbers")
        assert await provider.sequences() == [TableName("public", "numbers")]
        node = await node_of(subscriber, "subscriber")
        subscription = await node.create_subscription("s", pair.publisher.conninfo)
        tables = await subscription.wait_for_sync(timeout=60, provider=inner(publisher))  # type: ignore[arg-type]
        assert {table.status for table in tables} == {PglogicalSync.READY}
        assert subscription.state.status is PglogicalStatus.REPLICATING
        assert subscription.state.provider_node == "provider"
        assert pair.rows("one") == (1000, 1000)
        assert pair.rows("two") == (10, 5)
        pair.publisher.run("DELETE FROM one WHERE id > 500")
        lsn = await publisher.write_marker()
        slot = await publisher.slot(subscription.state.slot_name)
        await slot.wait_for_catchup(lsn, timeout=30)
        assert pair.rows("one") == (500, 500)
        await provider.synchronize_sequence("numbers")
        wait_until(lambda: int(str(pair.subscriber.one("SELECT last_value FROM numbers"))) > 500)

        pair.subscriber.run("DELETE FROM one")
        await subscription.resynchronize("one")
        await subscription.wait_for_sync(timeout=60, provider=inner(publisher))  # type: ignore[arg-type]
        assert pair.rows("one") == (500, 500)
        await subscription.disable()
        assert (await subscription.refresh()).state.status is PglogicalStatus.DISABLED
        with pytest.raises(pgreplkit.errors.WaitTimeout, match="it is disabled"):
            await subscription.wait_for_sync(timeout=0.1)
        await subscription.enable()
        await provider.create_replication_set("more", delete=False)
        [more] = [s for s in await provider.replication_sets() if s.set_name == "more"]
        assert (more.replicate_insert, more.replicate_delete) == (True, False)
        await subscription.add_replication_set("more")
        assert "more" in (await subscription.refresh()).state.replication_sets
        await subscription.remove_replication_set("more")
        await provider.drop_replication_set("more")
        await provider.drop_tables("two")
        assert [t.table.name for t in await provider.tables()] == ["one"]
        assert [s.name for s in await node.subscriptions()] == ["s"]
        setting = await subscriber.setting("pglogical.conflict_resolution")
        assert setting.value == "apply_remote"
        # pglogical does not drop a slot that is in use.
        await subscription.disable()
        await soon(slot.refresh, lambda slot: not slot.state.active)
        await subscription.drop()
        with pytest.raises(pgreplkit.errors.SubscriptionNotFound):
            await subscription.refresh()
        assert await publisher.slots() == []
        await node.drop()
        await provider.drop()


async def test_a_database_without_pglogical_is_refused(cluster: Cluster, colour: Colour) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        with pytest.raises(pgreplkit.errors.ExtensionMissing, match="CREATE EXTENSION pglogical"):
            await node_of(primary, "x")
