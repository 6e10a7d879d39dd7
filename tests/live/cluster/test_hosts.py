"""Rejoin and switchover on hosts that real installations have; a check that says ready is true."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import pytest
from clusters import Cluster as Pair, Clusters, one, run, wait_until
from trees import Tree, grow

import pgreplkit
from pgreplkit import Cluster, LocalControl, ReplicationConnection
from pgreplkit.errors import ControlFailed, PlanFailed, PlanRefused
from pgreplkit.lab import Node
from pgreplkit.rows import Evidence, Severity

CRITICAL = Severity.CRITICAL
pytestmark = [pytest.mark.matrix, pytest.mark.one_colour, pytest.mark.pg(">=15")]


@pytest.fixture
def failed_over(clusters: Clusters, cluster: Pair) -> tuple[Tree, Cluster]:
    """A primary that was replaced by its standby, and wrote something of its own."""
    if not (cluster.primary.installation.bindir / "pg_rewind").exists():
        pytest.skip("this installation has no pg_rewind")
    tree = grow(clusters.lab, cluster.major, leaf=False)
    tree["c"].stop()
    tree["a"].kill()
    servers = {name: tree[name].conninfo for name in "ab"}
    found = Cluster.discover(servers, controls={name: tree[name].control for name in "ab"})
    evidence: tuple[Evidence, ...] = ("process",)
    found.plan_failover("b", primary="a", evidence=evidence, timeout=30).run()
    tree["a"].start()
    run(tree["a"], "CREATE TABLE only_here (id int)")
    return tree, found


def owned(node: Node, name: str, text: str) -> None:
    path = node.data_directory / name
    owner = node.data_directory.stat()
    path.parent.mkdir(exist_ok=True)
    os.chown(path.parent, owner.st_uid, owner.st_gid)
    node._place.make_file(path, text)


def follows(tree: Tree, name: str) -> None:
    tree[name].wait_for_streaming()
    run(tree["b"], "INSERT INTO written VALUES (7)")
    wait_until(lambda: one(tree[name], "SELECT count(*) FROM written WHERE id = 7") == 1)


def test_a_rejoin_keeps_included_files_and_keys(failed_over: tuple[Tree, Cluster]) -> None:
    tree, found = failed_over
    owned(tree["a"], "conf.d/own.conf", "work_mem = '5MB'\n")
    owned(tree["a"], "server.key", "its own\n")
    owned(tree["a"], "empty.d/README", "no settings yet\n")
    with (tree["a"].data_directory / "postgresql.conf").open("a") as file:
        file.write("include_dir 'conf.d'\ninclude_dir 'empty.d'\n")
    tree["a"].kill()
    found.plan_rejoin("a", timeout=30).run()
    follows(tree, "a")
    assert one(tree["a"], "SHOW work_mem") == "5MB"
    assert (tree["a"].data_directory / "server.key").read_text() == "its own\n"


def test_a_crashed_server_with_its_configuration_elsewhere_rejoins(
    failed_over: tuple[Tree, Cluster],
) -> None:
    tree, found = failed_over
    node = tree["a"]
    etc = node.data_directory.with_name(f"etc-of-a-{node.major}")
    node.stop()
    etc.mkdir()
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (node.data_directory / name).rename(etc / name)
    with (etc / "postgresql.conf").open("a") as file:
        file.write(f"data_directory = '{node.data_directory}'\n")
        for setting in ("hba", "ident"):
            file.write(f"{setting}_file = '{etc}/pg_{setting}.conf'\n")
    owner = node.data_directory.stat()
    for path in (etc, *etc.iterdir()):
        os.chown(path, owner.st_uid, owner.st_gid)
    options = {"bindir": node.installation.bindir, "log_file": node.log_file}
    LocalControl(node.data_directory, config_file=etc / "postgresql.conf", **options).start()  # type: ignore[arg-type]
    node.kill()
    plan = found.plan_rejoin("a", timeout=30)
    assert plan.check()["configuration of a"].found == str(etc / "postgresql.conf")
    plan.run()
    follows(tree, "a")
    node.control.restart()
    tree["a"].wait_for_streaming()
    assert not (node.data_directory / "postgresql.conf").exists()


@pytest.mark.parametrize("name", ["postgresql.auto.conf", "server.key"])
def test_a_rejoin_is_refused_if_pg_rewind_could_not_write_a_file(
    failed_over: tuple[Tree, Cluster], name: str
) -> None:
    tree, found = failed_over
    tree["a"].stop()
    if name == "server.key":
        owned(tree["a"], name, "key")
    (tree["a"].data_directory / name).chmod(0o400)
    before = {path: path.stat().st_mtime_ns for path in tree["a"].data_directory.rglob("*")}
    with pytest.raises(PlanRefused, match=f"not writable: .*{name}"):
        found.plan_rejoin("a", timeout=30).run()
    assert {path: path.stat().st_mtime_ns for path in tree["a"].data_directory.rglob("*")} == before
    (tree["a"].data_directory / name).chmod(0o600)
    found.plan_rejoin("a", timeout=30).run()
    follows(tree, "a")


class Breaking(LocalControl):
    """Its pg_rewind is stopped after the dry run, as by a full disk."""

    def run(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        on_line: Callable[[str], None] | None = None,
        is_wanted: Callable[[], bool] | None = None,
    ) -> None:
        if program == "pg_rewind" and not {"--dry-run", "--version"} & {*arguments}:
            raise ControlFailed("run pg_rewind", "No space left on device")
        super().run(program, arguments, on_line=on_line, is_wanted=is_wanted)


def test_a_pg_rewind_that_failed_half_way_is_not_resumed(
    failed_over: tuple[Tree, Cluster],
) -> None:
    tree, found = failed_over
    node = tree["a"]
    node.stop()
    broken = Breaking(node.data_directory, bindir=node.installation.bindir, log_file=node.log_file)
    servers = {name: tree[name].conninfo for name in "ab"}
    found = Cluster.discover(servers, controls={"a": broken})
    plan = found.plan_rejoin("a", timeout=30)
    with pytest.raises(PlanFailed, match="No space left on device") as caught:
        plan.run()
    assert caught.value.way_on == "make a new copy with plan_clone()"
    with pytest.raises(PlanFailed, match="an earlier pg_rewind failed"):
        plan.resume()
    assert (node.data_directory / "standby.signal").exists()
    with pytest.raises(PlanRefused, match="files of an earlier attempt"):
        found.plan_rejoin("a", timeout=30).run()


@pytest.mark.pg(">=17")
def test_a_server_that_forbids_alter_system_stops_a_follow(
    clusters: Clusters, cluster: Pair
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    tree["c"].configure({"allow_alter_system": "off"})
    run(tree["c"], "SELECT pg_reload_conf()")
    wait_until(lambda: one(tree["c"], "SHOW allow_alter_system") == "off")
    found = pgreplkit.Cluster.discover(tree.servers, controls=tree.controls)
    for plan in (found.plan_follow("c", "b"), found.plan_switchover("b"), found.plan_failover("b")):
        with pytest.raises(PlanRefused, match="ALTER SYSTEM on c: allow_alter_system is off"):
            plan.run()


def test_a_standby_that_could_not_follow_a_promotion_stops_a_switchover(
    clusters: Clusters, cluster: Pair
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    for setting in ("timeline = 'current'", "xid = '4000000000'", "action = 'promote'"):
        run(tree["c"], f"ALTER SYSTEM SET recovery_target_{setting}")
    tree["c"].stop()
    tree["c"].start()
    found = pgreplkit.Cluster.discover(tree.servers, controls=tree.controls)
    tree["c"].wait_for_streaming()
    found.refresh()
    with pytest.raises(PlanRefused, match="recovery_target_timeline of c: current"):
        found.plan_switchover("b").run()
    readiness = found.plan_follow("c", "b").check()
    # On the same timeline the standby can move, for now; but it will promote itself.
    assert readiness.is_ready
    assert readiness["recovery target of c"].severity is Severity.WARNING
    with tree["c"].connect() as standby:
        assert isinstance(standby, pgreplkit.Standby)
        assert standby.check_readiness()["recovery_target_xid"].severity is Severity.WARNING


def test_an_old_primary_that_could_not_start_again_stops_a_switchover(
    clusters: Clusters, cluster: Pair
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    # Read at the next start only, as an administrator's edit that was never tried.
    tree["a"].configure({"max_connections": "20", "hot_standby": "off"})
    found = pgreplkit.Cluster.discover(tree.servers, controls=tree.controls)
    readiness = found.plan_switchover("b").check()
    assert {finding.check for finding in readiness.problems if finding.severity is CRITICAL} == {
        *("limits of a", "hot_standby of a"),
    }
    assert "max_connections = 20, 100 on b" in readiness["limits of a"].found
    hba = tree["a"].data_directory / "pg_hba.conf"
    own = hba.read_text()
    with (tree["a"].data_directory / "postgresql.conf").open("a") as file:
        file.write("unknown_setting = 5\n")
    hba.write_text(f"nonsense\n{own}")
    files = found.plan_switchover("b").check()["configuration files of a"]
    assert files.severity is CRITICAL
    for named in ("unknown_setting", "pg_hba.conf, line 1"):
        assert named in files.found
    assert "max_connections" not in files.found
    # The settings of running followers count; they only warn where a failover must not wait.
    run(tree["b"], "ALTER SYSTEM SET max_connections = 200")
    tree["b"].stop()
    tree["b"].start()
    tree["b"].wait_for_streaming()
    found.refresh()
    assert found.plan_switchover("b").check()["limits of c"].severity is CRITICAL
    assert found.plan_follow("c", "b").check()["limits of c"].severity is CRITICAL
    tree["a"].kill()
    found.refresh()
    assert not found["a"].is_reachable
    assert found.plan_failover("b").check()["limits of c"].severity is Severity.WARNING


def test_a_failover_is_refused_if_a_follower_could_not_stream_afterwards(
    clusters: Clusters, cluster: Pair
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    found = pgreplkit.Cluster.discover(tree.servers, controls=tree.controls)
    tree["a"].kill()
    run(tree["b"], "SELECT pg_create_physical_replication_slot('slot_c', true)")
    evidence: tuple[Evidence, ...] = ("process",)
    plan = found.plan_failover("b", evidence=evidence)
    assert plan.check().is_ready
    receiver = ReplicationConnection.connect(tree["b"].conninfo)
    start = receiver.identify_system().position
    with receiver, receiver.start_physical(start, slot="slot_c"):
        with pytest.raises(PlanRefused, match=r"slots of the same names: slot_c \(in use\)"):
            plan.run()
        with pytest.raises(PlanRefused, match=r"slots of the same names: slot_c \(in use\)"):
            found.plan_follow("c", "b", slot="slot_c").run()
    # The line "all" does not admit physical replication.
    (tree["b"].data_directory / "pg_hba.conf").write_text("host all all all trust\n")
    with pytest.raises(PlanRefused, match="access of c: rejected"):
        plan.run()
