"""Orphans: objects left behind by subscriptions, on a set of servers."""

from __future__ import annotations

from typing import Any

import pytest
from clusters import Cluster
from colours import Colour, inner
from databases import Pair, both, subscribed

import pgreplkit
from pgreplkit import AsyncPrimary, SubscriptionOptions
from pgreplkit.rows import LeftoverKind, Orphan

pytestmark = pytest.mark.one_colour


async def orphans_of(*servers: AsyncPrimary) -> list[Orphan]:
    sync = [server for server in map(inner, servers) if isinstance(server, pgreplkit.Server)]
    return pgreplkit.find_orphans(sync) if sync else await pgreplkit.afind_orphans(servers)


async def test_only_objects_without_a_subscription_are_orphans(
    pair: Pair, colour: Colour, cluster: Cluster
) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        subscription = await subscribed(pair, subscriber, SubscriptionOptions(enabled=False))
        system = (await publisher.identity()).system_id
        stale = f"pg_999_sync_1_{system}"
        living = f"pg_{subscription.state.oid}_sync_1_{system}"
        foreign = f"pg_{subscription.state.oid}_sync_1_{system + 1}"
        for name in (stale, living, foreign, "nobodys"):
            await publisher.create_logical_slot(name)
        stale_origin = {"pg_999"} if cluster.major >= 13 else set()
        if stale_origin:  # a name that only subscriptions use
            insert = "INSERT INTO pg_replication_origin VALUES (9000, 'pg_999')"
            pair.subscriber.run("SET allow_system_table_mods = on", insert)
        pair.subscriber.run("SELECT pg_replication_origin_create('mine')")
        try:
            found = {orphan.name: orphan for orphan in await orphans_of(publisher, subscriber)}
            assert {*found} == {stale, foreign, "nobodys", *stale_origin}
            certain = {name for name, orphan in found.items() if orphan.is_certain}
            assert certain == {stale, *stale_origin}
            assert found[stale].kind is LeftoverKind.SYNC_SLOT
            assert found["nobodys"].kind is LeftoverKind.SLOT
            assert all(found[name].kind is LeftoverKind.ORIGIN for name in stale_origin)
            assert found["nobodys"].retained_bytes > 0
            assert "subscription 999" in found[stale].why
            for orphan in found.values():
                pair.publisher.run(orphan.sql)
            assert await orphans_of(publisher, subscriber) == []
            # Adding the primary's standby neither hides an orphan nor lists it twice.
            await publisher.create_logical_slot(stale)
            cluster.catch_up()
            async with await colour.standby(cluster.standby.conninfo) as standby:
                beside: Any = standby
                for servers in ([publisher, beside], [beside, publisher, subscriber]):
                    assert [orphan.name for orphan in await orphans_of(*servers)] == [stale]
            await (await publisher.slot(stale)).drop()
        finally:
            pair.subscriber.run("SELECT pg_replication_origin_drop('mine')")
