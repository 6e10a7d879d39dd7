"""Switchover: planned, checked, run under a writer, killed at each step, resumed, undone."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from clusters import Cluster as Pair, Clusters, one, reads_twice, rows, run, streaming, wait_until
from colours import Colour, inner
from trees import Tree, grow, writing, written

import pgreplkit
from pgreplkit import LocalControl
from pgreplkit._sync.cluster.site import Site
from pgreplkit.errors import PlanFailed, PlanRefused
from pgreplkit.lab import Node
from pgreplkit.rows import StepProgress

pytestmark = pytest.mark.one_colour


def snapshot(tree: Tree) -> dict[str, object]:
    """Return every property of the servers that an operation could change."""
    told: dict[str, object] = {}
    for name, node in tree.nodes.items():
        slots = rows(node, "SELECT slot_name, active FROM pg_replication_slots ORDER BY 1")
        written = "CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn() END"
        position = f"SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn(), {written}"
        files = {
            str(path.relative_to(node.data_directory)): path.read_bytes()
            for pattern in ("*.conf", "*.signal")
            for path in node.data_directory.glob(pattern)
        }
        settings = "SELECT name, setting FROM pg_settings WHERE name NOT LIKE 'transaction%'"
        told[name] = (slots, rows(node, position), files, rows(node, settings))
    return told


async def test_a_switchover_loses_no_commit_and_moves_slots_and_names(
    clusters: Clusters, cluster: Pair, colour: Colour, tmp_path: Path
) -> None:
    tree = grow(clusters.lab, cluster.major)
    found = await tree.discover(colour)
    run(tree["a"], "ALTER SYSTEM SET synchronous_standby_names = 'b, c'")
    run(tree["a"], "SELECT pg_reload_conf()")
    wait_until(lambda: one(tree["a"], "SHOW synchronous_standby_names") == "b, c")
    told: list[StepProgress] = []
    with writing(tree, "a", "b") as writer:
        plan = await found.plan_switchover("b", journal=tmp_path / "journal")
        readiness = await plan.check()
        assert readiness.is_ready, readiness.problems
        result = await plan.run(told.append)
    assert {*writer.acknowledged} <= written(tree["b"])
    slots = "SELECT slot_name FROM pg_replication_slots WHERE active ORDER BY 1"
    active = [{"slot_name": name} for name in ("a", "slot_c", "slot_d")]
    # The standby of the new primary begins again on the new timeline, with the same slot.
    wait_until(lambda: rows(tree["b"], slots) == active)
    await found.refresh()
    assert found.primary is not None
    assert (found.primary.name, found.primary.timeline) == ("b", 2)
    assert {n.name: n.upstream for n in found.nodes} == {"a": "b", "b": None, "c": "b", "d": "b"}
    assert not found.findings
    assert rows(tree["a"], "SELECT slot_name FROM pg_replication_slots") == []
    assert one(tree["b"], "SHOW synchronous_standby_names") == "FIRST 1 (a, c)"
    wait_until(lambda: written(tree["d"]) >= {*writer.acknowledged})
    assert result.promotion is not None
    assert (result.promotion.old_timeline, result.promotion.new_timeline) == (1, 2)
    assert result.write_outage is not None
    assert result.write_outage < result.elapsed
    assert list(plan.steps) == [done.step for done in result.steps]
    assert [p.number for p in told if p.elapsed is None] == [*range(1, len(plan.steps) + 1)]
    assert json.loads(json.dumps(result.to_dict()))["promotion"]["new_timeline"] == 2
    assert "no server accepted writes for" in str(result)
    with pytest.raises(PlanFailed, match="cannot be undone"):
        await plan.undo()
    # Killed at the promotion, the process may have done it already.
    told_of = json.loads((tmp_path / "journal").read_text())
    at = next(n for n, step in enumerate(told_of["steps"]) if step["kind"] == "Promote")
    (tmp_path / "journal").write_text(json.dumps(told_of | {"done": told_of["done"][:at]}))
    with pytest.raises(PlanFailed, match="cannot be undone"):
        await (await found.plan_resume(tmp_path / "journal")).undo()


@pytest.mark.matrix
async def test_planning_and_checking_change_nothing(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)

    @reads_twice
    async def looked_at() -> None:
        before = snapshot(tree)
        found = await tree.discover(colour)
        plan = await found.plan_switchover("b")
        assert (await plan.check()).is_ready
        assert "promote it" in str(plan)
        assert all(step.description and step.action for step in plan.steps)
        assert "0 of" in repr(plan)
        assert snapshot(tree) == before

    await looked_at()


@pytest.mark.matrix
async def test_a_standby_of_an_unknown_server_is_left_alone(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    tree = grow(clusters.lab, cluster.major)
    known = Tree({name: node for name, node in tree.nodes.items() if name != "b"})
    plan = await (await known.discover(colour)).plan_switchover("c")
    readiness = await plan.check()
    assert readiness.is_ready, readiness.problems
    assert "d" not in {step.node for step in plan.steps}
    assert readiness["other upstreams"].found == f"d from 127.0.0.1:{tree['b'].port}"
    assert readiness["receivers"].found.startswith("b, ")
    await plan.run()
    assert one(tree["d"], "SELECT count(*) FROM pg_stat_wal_receiver") == 1


@pytest.mark.matrix
async def test_all_obstacles_are_reported_at_once_and_nothing_is_changed(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    for sql in ("SET archive_mode = on", "SET archive_command = 'false'"):
        run(tree["a"], f"ALTER SYSTEM {sql}")
    tree["a"].restart()
    run(tree["a"], "SELECT pg_switch_wal()")
    failed = "SELECT failed_count > 0 FROM pg_stat_archiver"
    wait_until(lambda: one(tree["a"], failed) is True)
    tree["b"].wait_for_streaming()
    tree["c"].wait_for_streaming()
    run(tree["b"], "SELECT pg_wal_replay_pause()")
    run(tree["a"], "SELECT pg_create_physical_replication_slot('stranger')")
    run(tree["a"], "INSERT INTO written SELECT generate_series(1, 1000)")
    replayed = "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()"
    wait_until(lambda: one(tree["b"], replayed) is True)
    run(tree["b"], "SELECT pg_create_physical_replication_slot('slot_c', true)")
    found = await tree.discover(colour)
    plan = await found.plan_switchover("b", max_lag=100)
    before = {finding.check for finding in (await plan.check()).problems}
    # Changes since the plan was made are also found.
    with (
        backing_up(tree["a"]),
        backing_up(tree["b"]),
        streaming(tree["b"], "slot_c", name="d"),
    ):
        since = {finding.check for finding in (await plan.check()).problems} - before
        assert since == {"base backups", "slots of the same names"}
        await insist_on_all(tree, colour)
    assert {finding.check for finding in (await plan.check()).problems} == before


@contextmanager
def backing_up(node: Node) -> Iterator[None]:
    """A base backup that does not end, because its output is not read."""
    conninfo = psycopg.conninfo.make_conninfo(node.conninfo, replication="true")
    client = psycopg.pq.PGconn.connect(conninfo.encode())
    client.send_query(b"BASE_BACKUP")
    running = "SELECT count(*) FROM pg_stat_replication WHERE state = 'backup'"
    wait_until(lambda: one(node, running) == 1)
    try:
        yield
    finally:
        client.finish()
        wait_until(lambda: one(node, running) == 0)


@reads_twice
async def insist_on_all(tree: Tree, colour: Colour) -> None:
    found = await tree.discover(colour)
    before = snapshot(tree)
    plan = await found.plan_switchover("b", max_lag=100)
    with pytest.raises(PlanRefused) as caught:
        await plan.run()
    critical = {finding.check for finding in caught.value.findings}
    assert {"lag", "replay", "archiving", "base backups"} <= critical
    assert all(finding.check in str(caught.value) for finding in caught.value.findings)
    others = (await plan.check())["other slots"]
    assert (others.severity, others.found) == ("warning", "stranger")
    assert snapshot(tree) == before
    with pytest.raises(pgreplkit.errors.ServerError, match="not a standby"):
        await found.plan_switchover("a")
    with pytest.raises(KeyError):
        await found.plan_switchover("nobody")


@pytest.mark.matrix
async def test_without_a_control_of_its_host_the_primary_is_not_changed(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    other = clusters.lab.primary(version=cluster.major)
    found = await tree.discover(colour, a=other.control)
    plan = await found.plan_switchover("b")
    with pytest.raises(
        PlanRefused, match="a control of its host that stops and starts it, with system"
    ):
        await plan.run()


@pytest.mark.matrix
async def test_a_switchover_can_be_undone_until_the_promotion(
    clusters: Clusters, cluster: Pair, colour: Colour, tmp_path: Path
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    run(tree["a"], "ALTER SYSTEM SET synchronous_standby_names = 'c'")
    run(tree["a"], "SELECT pg_reload_conf()")
    found = await tree.discover(colour)
    plan = await found.plan_switchover("b", journal=tmp_path / "journal")
    site: Site = inner(plan)._actor.site  # type: ignore[attr-defined]
    patience = site.timeout

    def pause_late(progress: StepProgress) -> None:
        # After all checks: replay pauses before the primary's last WAL.
        if progress.step.description == "shut it down cleanly" and progress.elapsed is None:
            run(tree["b"], "SELECT pg_wal_replay_pause()")
            # Only for the wait that is in vain: other steps take longer on a busy machine.
            site.timeout = 1

    with pytest.raises(PlanFailed, match="shutdown checkpoint") as caught:
        await plan.run(pause_late)
    site.timeout = patience
    assert caught.value.state == "no server accepts writes: a is shut down, and b is a standby"
    assert caught.value.way_back.startswith("undo(), which does: a: start it again")
    assert "resume" in caught.value.way_on
    assert "a: shut it down cleanly" in caught.value.done
    assert not tree["a"].is_running
    with pytest.raises(ValueError, match="already started"):
        await plan.run()
    undone = await plan.undo()
    assert undone[0].description == "shut it down cleanly"
    run(tree["a"], "INSERT INTO written VALUES (1)")
    slots = "SELECT slot_name FROM pg_replication_slots"
    assert rows(tree["b"], slots) == []
    assert any("synchronous_standby_names" in done for done in caught.value.done)
    assert one(tree["b"], "SHOW synchronous_standby_names") == ""
    run(tree["b"], "SELECT pg_wal_replay_resume()")
    tree["b"].wait_for_streaming()
    await (await found.plan_switchover("b")).run()
    with pytest.raises(pgreplkit.errors.NotAPrimary):
        pgreplkit.Primary.connect(tree["a"].conninfo)


class Impatient(LocalControl):
    """A control that does not wait for the end of a shutdown."""

    def stop(self) -> None:
        hurried = LocalControl(
            self.data_directory, bindir=self._ctl.bindir, log_file=self._log_file, timeout=3
        )
        hurried.stop()


@pytest.mark.matrix
async def test_a_stop_that_takes_too_long_is_undone_once_it_is_over(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    a = tree["a"]
    for sql in ("SET archive_mode = on", "SET archive_command = 'sleep 6'"):
        run(a, f"ALTER SYSTEM {sql}")
    a.restart()
    tree["b"].wait_for_streaming()
    tree["c"].wait_for_streaming()
    impatient = Impatient(a.data_directory, bindir=a.installation.bindir, log_file=a.log_file)
    found = await tree.discover(colour, a=impatient)
    run(a, "CREATE TABLE archived (); SELECT pg_switch_wal()")
    plan = await found.plan_switchover("b")
    with pytest.raises(PlanFailed, match="shut it down cleanly: could not stop the server"):
        await plan.run()
    undone = await plan.undo()
    assert undone[0].description == "shut it down cleanly"
    run(a, "INSERT INTO written VALUES (1)")


@pytest.mark.matrix
async def test_an_interrupted_promotion_is_not_undone(clusters: Clusters, cluster: Pair) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False, slots=False)
    found = await pgreplkit.AsyncCluster.discover(tree.servers, controls=tree.controls)
    plan = await found.plan_switchover("b")

    def interrupt(progress: StepProgress) -> None:
        if progress.step.is_final and progress.elapsed is None:
            asyncio.get_running_loop().call_later(0.03, running.cancel)

    running = asyncio.ensure_future(plan.run(interrupt))
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(PlanFailed, match="it may be done"):
        await plan.undo()
    assert not tree["a"].is_running
    assert (await plan.resume()).promotion is not None
    await found.refresh()
    assert {node.name: node.upstream for node in found.nodes} == {"a": "b", "b": None, "c": "b"}


KILLED = """
import json, os, signal, sys, threading, time
from pgreplkit import Cluster, LocalControl
servers, controls, to, journal, number, delay = json.loads(sys.argv[1])
controls = {n: LocalControl(d, bindir=b, log_file=l) for n, (d, b, l) in controls.items()}
def end():
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGKILL)
def watch(progress):
    if progress.number == number and progress.elapsed is None:
        threading.Thread(target=end, daemon=True).start()
cluster = Cluster.discover(servers, controls=controls)
plan = cluster.plan_switchover(to, journal=journal)
assert number <= len(plan.steps), len(plan.steps)
plan.run(watch)
time.sleep(delay + 1)
"""


@pytest.mark.matrix
def test_after_a_kill_at_any_step_another_process_resumes(
    clusters: Clusters, cluster: Pair, tmp_path: Path
) -> None:
    tree = grow(clusters.lab, cluster.major)
    controls = {
        name: (str(node.data_directory), str(node.installation.bindir), str(node.log_file))
        for name, node in tree.nodes.items()
    }
    chance = random.Random(cluster.major)
    # Half of the steps on old majors, half on new ones: the oldest and newest always run.
    numbers = range(1 if cluster.major < 14 else 2, 11, 2)
    with writing(tree, "a", "b") as writer:
        for number, to in zip(numbers, itertools.cycle("ba"), strict=False):
            journal = str(tmp_path / f"journal-{number}")
            delay = chance.choice([0, 0.01, 0.03])
            given = json.dumps([tree.servers, controls, to, journal, number, delay])
            ended = subprocess.run([sys.executable, "-c", KILLED, given], capture_output=True)
            assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
            found = pgreplkit.Cluster.discover(tree.servers, controls=tree.controls)
            plan = found.plan_resume(journal)
            assert len(plan.remaining) <= len(plan.steps) - number + 1
            plan.resume()
            found.refresh()
            assert found.primary is not None
            assert found.primary.name == to
            upstreams = {node.name: node.upstream for node in found.nodes}
            assert upstreams["c"] == to
            assert not found.findings, (number, delay, str(found))
    assert {*writer.acknowledged} <= written(tree["a"])


def test_a_journal_of_other_servers_is_refused(cluster: Pair, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    found = pgreplkit.Cluster.discover({"x": cluster.primary.conninfo})
    with pytest.raises(pgreplkit.errors.HostFileError, match=r"could not read the journal .*No su"):
        found.plan_resume(journal)
    journal.write_text("{}")
    with pytest.raises(ValueError, match="could not read the journal"):
        found.plan_resume(journal)
    step = {"kind": "Checkpoint", "node": "y"}
    told = {"operation": "o", "steps": [step], "done": [], "undone": False}
    told |= dict.fromkeys(("promotion", "lost_bytes", "lost_primary", "writes"))
    told |= {"databases": [], "fences": []}
    journal.write_text(json.dumps(told))
    with pytest.raises(ValueError, match="names servers outside this cluster"):
        found.plan_resume(journal)
    step["kind"] = "Explode"
    journal.write_text(json.dumps(told))
    with pytest.raises(ValueError, match="no step has this kind"):
        found.plan_resume(journal)
    controls = {"y": cluster.primary.control}
    with pytest.raises(ValueError, match="unknown servers: y"):
        pgreplkit.Cluster.discover({"x": cluster.primary.conninfo}, controls=controls)
