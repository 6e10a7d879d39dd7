"""Failover and rejoin: evidence, fencing, pg_rewind and refusals."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from clusters import Cluster as Pair, Clusters, one, rows, run, wait_until
from colours import Colour
from trees import Tree, discover, grow, writing, written

import pgreplkit
from pgreplkit import LSN, LocalControl, NodeControl
from pgreplkit._async.cluster.site import AsyncSite
from pgreplkit._sync.cluster.site import Site
from pgreplkit.errors import ControlFailed, PlanFailed, PlanRefused
from pgreplkit.lab import Node
from pgreplkit.rows import Evidence

pytestmark = [pytest.mark.matrix, pytest.mark.one_colour]


def can_rewind(pair: Pair) -> bool:
    return (pair.primary.installation.bindir / "pg_rewind").exists()


def is_receiving(node: Node) -> object:
    return one(node, "SELECT count(*) > 0 FROM pg_stat_wal_receiver WHERE status = 'streaming'")


def diverge(tree: Tree, name: str) -> None:
    """Promote a standby, write something there, and make it a standby again."""
    node = tree[name]
    node.promote()
    run(node, "INSERT INTO written VALUES (-1)")
    node.stop()
    node.follow(tree["a"])
    node.start()


@pytest.mark.matrix
async def test_a_lost_primary_is_replaced_and_rejoins_after_pg_rewind(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    tree = grow(clusters.lab, cluster.major)
    run(tree["a"], "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 2 (b, c)'")
    run(tree["a"], "SELECT pg_reload_conf()")
    found = await tree.discover(colour)
    fenced: list[str] = []
    with writing(tree, "a", "b", "c") as writer:
        tree["a"].kill()
        wait_until(lambda: not is_receiving(tree["b"]) and not is_receiving(tree["c"]))
        every: tuple[Evidence, ...] = ("connection", "standbys", "process")
        plan = await found.plan_failover(evidence=every, fence=fenced.append)
        new = plan.steps[-1].to_dict()["upstream"]
        assert new in {"b", "c"}
        result = await plan.run()
        assert fenced == ["a"]
        assert result.lost_bytes is not None
    primary = tree[str(new)]
    assert {*writer.acknowledged} <= written(primary)
    # Before 13 a standby restarts to follow another server, and its own standbys reconnect.
    wait_until(lambda: bool(is_receiving(tree["d"])))
    await found.refresh()
    other = "c" if new == "b" else "b"
    assert {node.name: node.upstream for node in found.nodes} == {
        "a": None,
        new: None,
        other: new,
        "d": "b",
    }

    # It starts as the primary, accepts writes that no other server has, and is lost again.
    tree["a"].start()
    run(tree["a"], "SET synchronous_commit = local; INSERT INTO written VALUES (-1)")
    await found.refresh()
    with pytest.raises(pgreplkit.errors.SplitBrain):
        assert found.primary
    with pytest.raises(pgreplkit.errors.SplitBrain):
        await found.plan_switchover(other)
    tree["a"].kill()
    if cluster.major >= 12:
        # As in the middle of a restore: the crash recovery must not be an archive recovery.
        tree["a"].control.write_file("recovery.signal", b"")
    plan = await found.plan_rejoin("a", slot="a")
    if not can_rewind(cluster) or cluster.major < 13:
        with pytest.raises(PlanRefused, match="plan_clone"):
            await plan.run()
        assert not tree["a"].is_running
        return
    own = (tree["a"].data_directory / "postgresql.conf").read_bytes()
    await plan.run()
    assert (tree["a"].data_directory / "postgresql.conf").read_bytes() == own
    assert not tree["a"].data_directory.with_suffix(".before-rewind").exists()
    await found.refresh()
    assert found["a"].upstream == new
    assert not found.findings
    wait_until(lambda: {*writer.acknowledged} <= written(tree["a"]))
    assert -1 not in written(tree["a"])
    slots = "SELECT active FROM pg_replication_slots WHERE slot_name = 'a'"
    # A walreceiver reports that it streams some milliseconds before its walsender has the slot.
    wait_until(lambda: one(primary, slots) is True)


async def test_a_primary_that_is_lost_within_a_record_is_replaced(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    # An autovacuum worker would commit, which writes the rest of the record.
    a = clusters.lab.primary(version=cluster.major, settings={"autovacuum": "off"})
    b = clusters.lab.standby(a)
    # And so would this process, which logs the running transactions every 15 s.
    writer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer'"
    os.kill(int(str(one(a, writer))), signal.SIGSTOP)

    def ends_within_a_record() -> bool:
        # The server writes whole pages in the background; a commit would write the rest.
        message = "SELECT pg_logical_emit_message(false, '', repeat('x', 300000))"
        begin, end = (
            LSN(str(value))
            for statement in ("SELECT pg_current_wal_insert_lsn()", message)
            for (value,) in writing_one.execute(statement.encode())
        )
        received = LSN(str(one(b, "SELECT pg_last_wal_receive_lsn() FROM pg_sleep(0.5)")))
        return begin < received < end

    with closing(psycopg.connect(a.conninfo)) as writing_one:
        wait_until(ends_within_a_record)
        a.kill()
    wait_until(lambda: not is_receiving(b))
    assert one(b, "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()")
    controls: dict[str, NodeControl] = {"a": a.control, "b": b.control}
    found = await discover({"a": a.conninfo, "b": b.conninfo}, colour, controls)
    result = await (await found.plan_failover()).run()
    assert result.promotion is not None
    run(b, "CREATE TABLE writable (id int)")


async def test_a_reachable_primary_is_not_replaced(
    clusters: Clusters, cluster: Pair, colour: Colour, tmp_path: Path
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    run(tree["a"], "SELECT pg_create_physical_replication_slot('stranger')")
    found = await tree.discover(colour)
    plan = await found.plan_failover(evidence=("connection", "standbys", "process"))
    with pytest.raises(PlanRefused) as caught:
        await plan.run()
    assert {f.check for f in caught.value.findings} == {"connection", "standbys", "process"}
    with pytest.raises(ValueError, match="evidence must be some of"):
        await found.plan_failover(evidence=())
    tree["c"].stop()
    run(tree["a"], "INSERT INTO written VALUES (1)")
    wait_until(lambda: written(tree["b"]) == {1})
    tree["a"].stop()
    tree["c"].start()
    wait_until(lambda: not is_receiving(tree["b"]) and not is_receiving(tree["c"]))
    with pytest.raises(PlanRefused, match="needed: the standby with the most WAL"):
        await (await found.plan_failover("c")).run()

    def refuse(name: str) -> None:
        raise RuntimeError(f"{name} does not answer the switch")

    run(tree["b"], "SELECT pg_wal_replay_pause()")
    with pytest.raises(PlanRefused, match="neither paused nor delayed"):
        await (await found.plan_failover("b")).run()
    run(tree["b"], "SELECT pg_wal_replay_resume()")
    plan = await found.plan_failover("b", fence=refuse, journal=tmp_path / "journal")
    with pytest.raises(PlanFailed, match="RuntimeError: a does not answer the switch"):
        await plan.run()
    assert one(tree["b"], "SELECT pg_is_in_recovery()") is True
    # The evidence may be out of date by the time of the resume.
    tree["a"].start()
    wait_until(lambda: bool(is_receiving(tree["b"]) and is_receiving(tree["c"])))
    again = await found.plan_resume(tmp_path / "journal", fence=lambda name: None)
    for begun in (plan, again):
        with pytest.raises(PlanFailed, match="still out of reach: connection: it answers"):
            await begun.resume()
    assert one(tree["b"], "SELECT pg_is_in_recovery()") is True
    tree["a"].stop()
    wait_until(lambda: not is_receiving(tree["b"]) and not is_receiving(tree["c"]))
    fresh = await tree.discover(colour)
    result = await (await fresh.plan_failover("b")).run()
    assert result.promotion is not None
    wait_until(lambda: one(tree["b"], "SELECT pg_is_in_recovery()") is False)
    back = await fresh.plan_rejoin("a")
    assert [step.description for step in back.steps if "rewind" in step.description] == []
    await back.run()
    await fresh.refresh()
    assert {node.name: node.upstream for node in fresh.nodes} == {"a": "b", "b": None, "c": "b"}
    # Slots of the other standbys are dropped: they would retain WAL there forever.
    assert [slot.slot_name for slot in fresh["a"].slots] == ["stranger"]


async def test_a_standby_follows_another_and_a_diverged_one_is_refused(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    found = await tree.discover(colour)
    old = tree["c"].data_directory / "recovery.conf"
    if old.exists():
        old.write_text(f"{old.read_text()}restore_command = 'false'\n")
    plan = await found.plan_follow("c", "b", slot="slot_c")
    assert (await plan.check())["slot"].found == "it leaves the slot slot_c of a"
    await plan.run()
    assert not old.exists() or "restore_command = 'false'" in old.read_text()
    await found.refresh()
    assert found["c"].upstream == "b"
    with pytest.raises(
        pgreplkit.errors.ServerError, match="c receives from b: they would form a circle"
    ):
        await found.plan_follow("b", "c")
    await (await found.plan_follow("c", "a")).run()
    await found.refresh()
    assert found["c"].upstream == "a"
    left = "SELECT active FROM pg_replication_slots"
    wait_until(lambda: rows(tree["b"], left) == [{"active": False}])
    diverge(tree, "c")
    plan = await found.plan_follow("c", "b")
    with pytest.raises(PlanRefused, match="not a timeline of the upstream's history: 1") as caught:
        await plan.run()
    [finding] = caught.value.findings
    assert "pg_rewind" in finding.remedy
    with pytest.raises(PlanFailed, match="not a timeline of the upstream's history"):
        await plan.run(force=True)
    with pytest.raises(pgreplkit.errors.ServerError, match="let a follow b"):
        await found.plan_follow("a", "b")
    if can_rewind(cluster):
        plan = await found.plan_rejoin("c")
        await plan.run()
        await found.refresh()
        assert found["c"].upstream == "a"
        assert written(tree["c"]) == written(tree["a"])


async def test_follow_gives_a_standby_another_slot(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    found = await tree.discover(colour)
    plan = await found.plan_follow("c", "a", slot="another")
    assert (await plan.check())["slot"].found == "it leaves the slot slot_c of a"
    await plan.run()
    active = "SELECT active FROM pg_replication_slots WHERE slot_name = 'another'"
    # A walreceiver reports that it streams some milliseconds before its walsender has the slot.
    wait_until(lambda: one(tree["a"], active) is True)
    with pytest.raises(PlanRefused, match=r"slots of the same names: slot_b \(in use\)"):
        await (await found.plan_follow("c", "a", slot="slot_b")).run()
    if cluster.major >= 13:
        # Until the server has read the new setting, the former walreceiver still streams.
        await (await found.plan_follow("c", "a", slot="another")).run()
        pid = int(
            str(one(tree["c"], "SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'"))
        )
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(PlanFailed, match="timed out after 3 s waiting until c streams"):
                await (await found.plan_follow("c", "a", slot="slot_c", timeout=3)).run()
        finally:
            os.kill(pid, signal.SIGCONT)


class Interrupted(LocalControl):
    """A control whose restarts only stop the server."""

    def restart(self) -> None:
        self.stop()
        raise ControlFailed("restart the server", "it was interrupted")


@pytest.mark.pg("<13")
async def test_a_follow_whose_restart_was_interrupted_is_resumed(
    clusters: Clusters, cluster: Pair, colour: Colour, tmp_path: Path
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    node, journal = tree["c"], tmp_path / "journal"
    control = Interrupted(
        node.data_directory, bindir=node.installation.bindir, log_file=node.log_file
    )
    found = await tree.discover(colour, c=control)
    with pytest.raises(PlanFailed, match="it was interrupted"):
        await (await found.plan_follow("c", "b", journal=journal)).run()
    assert not node.is_running
    found = await tree.discover(colour)
    marker = node.data_directory / ("standby.signal" if cluster.major >= 12 else "recovery.conf")
    away = marker.rename(node.data_directory / "away")
    with pytest.raises(PlanFailed, match="it is configured as a primary"):
        await (await found.plan_resume(journal)).resume()
    assert not node.is_running
    away.rename(marker)
    await (await found.plan_resume(journal)).resume()
    await found.refresh()
    assert found["c"].upstream == "b"


def test_a_primary_that_refuses_the_password_is_reachable(cluster: Pair) -> None:
    bad = psycopg.conninfo.make_conninfo(
        cluster.primary.conninfo, passfile="/dev/null", password="wrong"
    )
    found = pgreplkit.Cluster.discover({"a": bad, "b": cluster.standby.conninfo})
    evidence: tuple[Evidence, ...] = ("connection",)
    answer = found.plan_failover(evidence=evidence).check()["connection"]
    assert (answer.severity, answer.found[:10]) == ("critical", "it answers")
    assert "wrong" not in str(answer)


async def test_an_async_fence_is_awaited_and_refused_in_a_sync_cluster() -> None:
    fenced: list[str] = []

    async def fence(name: str) -> None:
        await asyncio.sleep(0)
        fenced.append(name)

    await AsyncSite({}, {}, {}, 1, fence=fence).fence_off("a")
    assert fenced == ["a"]
    with pytest.raises(pgreplkit.errors.ControlFailed, match="only the async classes run"):
        Site({}, {}, {}, 1, fence=fence).fence_off("b")
    assert fenced == ["a"]


async def test_a_node_without_a_control_cannot_rejoin(cluster: Pair, colour: Colour) -> None:
    servers = {"one": cluster.primary.conninfo, "two": cluster.standby.conninfo}
    found = pgreplkit.Cluster.discover(servers)
    with pytest.raises(pgreplkit.errors.ControlFailed, match="controls="):
        found.plan_rejoin("two")
