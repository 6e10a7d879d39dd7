"""Promotion: the standby accepts writes, and reports the switchpoint."""

from __future__ import annotations

import pytest
from clusters import Cluster, Clusters, conninfo_as, one, run
from colours import Colour

import pgreplkit
from pgreplkit import LSN


@pytest.mark.one_colour
@pytest.mark.pg(">=12")
async def test_a_promoted_standby_accepts_writes_and_reports_the_switchpoint(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    node = clusters.lab.standby(cluster.primary)
    try:
        run(cluster.primary, "SELECT pg_logical_emit_message(true, 'x', 'x')")
        cluster.catch_up()
        async with await colour.standby(node.conninfo) as standby:
            await standby.pause()
            if cluster.major < 13:
                with pytest.raises(pgreplkit.errors.ServerError, match="paused"):
                    await standby.promote()
                await standby.resume()
            promotion = await standby.promote()
            assert (promotion.old_timeline, promotion.new_timeline) == (1, 2)
            history = "SELECT pg_read_file('pg_wal/00000002.history')"
            assert str(promotion.switchpoint) == str(one(node, history)).split("\t")[1]
            last = "SELECT pg_last_wal_replay_lsn()::text"
            assert promotion.switchpoint == LSN(str(one(node, last)))
            run(node, "CREATE TABLE written (a int)")
            with pytest.raises(pgreplkit.errors.NotAStandby):
                await standby.promote()
        async with await colour.primary(node.conninfo) as primary:
            assert await primary.timeline() == 2
    finally:
        node.stop()


@pytest.mark.pg(">=12")
async def test_promoting_without_the_privilege_raises(cluster: Cluster, colour: Colour) -> None:
    async with await colour.standby(conninfo_as(cluster.standby, "observer")) as standby:
        with pytest.raises(pgreplkit.errors.InsufficientPrivilege, match="pg_promote"):
            await standby.promote()
    assert one(cluster.standby, "SELECT pg_is_in_recovery()") is True


@pytest.mark.pg("<12")
async def test_promoting_by_sql_needs_12(cluster: Cluster, colour: Colour) -> None:
    async with await colour.standby(cluster.standby.conninfo) as standby:
        with pytest.raises(pgreplkit.errors.UnsupportedByServer, match="pg_ctl promote"):
            await standby.promote()
