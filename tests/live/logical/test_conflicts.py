"""Conflicts: the counters, the log entries, and the settings needed to see them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clusters import Cluster, Clusters, soon
from colours import Colour, inner
from databases import Pair, both, make_pair, remove_databases, subscribed

import pgreplkit
from pgreplkit import SubscriptionOptions, TableName
from pgreplkit.rows import ConflictType, Severity, SubscriptionStats

pytestmark = pytest.mark.one_colour


@pytest.fixture
def tracking(clusters: Clusters, cluster: Cluster) -> Iterator[Pair]:
    """A subscriber that tracks the origin of rows, and whose log can be read by SQL."""
    settings = {"logging_collector": "on", "track_commit_timestamp": "on"}
    node = clusters.lab.primary(version=cluster.major, settings=settings)
    pair = make_pair(cluster.primary, node)
    yield pair
    remove_databases(pair.subscriber, pair.publisher)


@pytest.mark.pg(">=18")
async def test_conflicts_are_counted_and_read_from_the_log(
    tracking: Pair, clusters: Clusters, colour: Colour
) -> None:
    pair = tracking
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        assert await subscription.conflicts() == []
        pair.subscriber.run("DELETE FROM two WHERE id < 3", "UPDATE one SET name = 'mine'")
        pair.publisher.run(
            "DELETE FROM two WHERE id = 1",
            "UPDATE two SET id = 200 WHERE id = 2",
            "UPDATE one SET name = 'x' WHERE id = 7",
        )
        await subscription.wait_for_catchup(timeout=30)
        # Another database may log in another encoding.
        command = r"'cat > /dev/null; printf \\351 >> ' || pg_current_logfile()"
        pair.subscriber.run(
            f"DO $$ BEGIN EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', {command}); END $$"
        )
        # The server counts and logs conflicts a moment after it applied the change.
        found = await soon(subscription.conflicts, lambda found: len(found) == 3)
        assert [(c.type, c.table.name, c.is_error) for c in found] == [
            (ConflictType.DELETE_MISSING, "two", False),
            (ConflictType.UPDATE_MISSING, "two", False),
            (ConflictType.UPDATE_ORIGIN_DIFFERS, "one", False),
        ]
        assert found[0].table == TableName("public", "two")
        assert found[0].finish_lsn is not None
        assert found[0].finish_lsn < (found[1].finish_lsn or found[0].finish_lsn)
        assert "(id)=(1)" in found[0].detail

        async def stats_after_a_commit() -> SubscriptionStats:
            # The apply worker reports its counters after a commit, or when the publisher sends
            # nothing for a second; a busy publisher sends something all the time.
            pair.publisher.run("INSERT INTO two (id) SELECT max(id) + 1 FROM two")
            return await subscription.stats()

        stats = await soon(
            stats_after_a_commit, lambda stats: bool(stats.confl_update_origin_differs)
        )
        assert stats.confl_delete_missing == 1
        assert stats.confl_update_missing == 1
        assert stats.confl_update_origin_differs == 1
        assert stats.apply_error_count == 0


async def test_conflicts_in_the_log_need_18_and_a_log(
    pair: Pair, colour: Colour, cluster: Cluster
) -> None:
    async with both(pair, colour) as (_, subscriber):
        subscription = await subscribed(pair, subscriber)
        kind = (
            pgreplkit.errors.UnsupportedByServer
            if cluster.major < 18
            else pgreplkit.errors.LogUnavailable
        )
        with pytest.raises(kind):
            await subscription.conflicts()


async def test_subscriber_readiness_reports_missing_settings(
    pair: Pair, colour: Colour, cluster: Cluster
) -> None:
    pair.publisher.run(
        "CREATE TABLE bare (a int)",
        "CREATE TABLE whole (a int)",
        "ALTER TABLE whole REPLICA IDENTITY FULL",
        "CREATE TABLE keyed (a int PRIMARY KEY)",
        "CREATE TABLE lost (a int PRIMARY KEY)",
    )
    for table in ("bare", "whole", "keyed"):
        pair.subscriber.run(f"CREATE TABLE {table} (a int)")
    async with both(pair, colour) as (publisher, subscriber):
        theirs = inner(publisher)
        tables = ["one", "bare", "whole", "keyed", "lost"]
        readiness = await subscriber.check_subscriber_readiness(theirs, tables)  # type: ignore[arg-type]
        reported = {f.check: f.severity for f in readiness.findings}
        assert reported == {
            "max_logical_replication_workers": Severity.OK,
            "max_worker_processes": Severity.OK,
            "max_replication_slots" if cluster.major < 18 else "max_active_replication_origins": (
                Severity.OK
            ),
            "track_commit_timestamp": (Severity.WARNING if cluster.major >= 18 else Severity.INFO),
            "table public.bare": Severity.CRITICAL,
            "table public.keyed": Severity.WARNING,
            "table public.lost": Severity.CRITICAL,
            "table public.one": Severity.OK,
            "table public.whole": Severity.WARNING,
        }
        pair.subscriber.run(readiness["table public.keyed"].remedy)
        again = await subscriber.check_subscriber_readiness(theirs, ["keyed"], subscriptions=9)  # type: ignore[arg-type]
        assert again["table public.keyed"].severity is Severity.OK
        assert again["max_logical_replication_workers"].severity is Severity.CRITICAL
        assert "27 free" in again["max_logical_replication_workers"].needed


async def test_origin_none_warns_of_rows_from_other_publishers(pair: Pair, colour: Colour) -> None:
    pair.subscriber.run("CREATE PUBLICATION back FOR TABLE one")
    async with both(pair, colour) as (publisher, subscriber):
        theirs = inner(publisher)
        options = SubscriptionOptions(enabled=False, copy_data=False)
        await publisher.create_subscription("back", pair.subscriber.conninfo, ["back"], options)
        readiness = await subscriber.check_subscriber_readiness(theirs, ["one", "two"])  # type: ignore[arg-type]
        [relayed] = [f for f in readiness.findings if f.check.startswith("origin")]
        assert (relayed.check, relayed.severity) == ("origin of public.one", Severity.WARNING)
        assert "copy_data=False" in relayed.needed
