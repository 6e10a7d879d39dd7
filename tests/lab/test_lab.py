"""The lab: its servers, and that nothing of them is left."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import psutil
import psycopg
import pytest
from clusters import Cluster, one, rows, run, wait_until

import pgreplkit
from pgreplkit import Primary, SegmentSize, Standby
from pgreplkit.errors import LabError, ServerNotFound
from pgreplkit.lab import Lab, Node, _reaper, find_servers
from pgreplkit.lab.account import Account

CHILD = """
import os, sys, time
from pgreplkit.lab import Lab
from pgreplkit.lab.account import Account
lab = Lab()
print(lab.root, flush=True)
primary = lab.primary()
print("ready", flush=True)
{then}
"""


def under(root: Path) -> list[psutil.Process]:
    """The processes that work in a lab's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and str(root) in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def is_gone(root: Path) -> bool:
    return not root.exists() and not under(root)


StartChild: TypeAlias = Callable[[str], tuple[subprocess.Popen[str], Path]]


@pytest.fixture
def start_child() -> Iterator[StartChild]:
    """Run a Python with a lab; return the process and the lab's folder."""
    children = []

    def start(then: str) -> tuple[subprocess.Popen[str], Path]:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(then=then)], stdout=subprocess.PIPE, text=True
        )
        children.append(child)
        assert child.stdout is not None
        return child, Path(child.stdout.readline().strip())

    yield start
    for child in children:
        with child:
            child.kill()


def wait_until_ready(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_after_a_signal(start_child: StartChild, number: signal.Signals) -> None:
    child, root = start_child(
        "lab.standby(primary, slot='replica1'); print('ready', flush=True); time.sleep(600)"
    )
    # However long the servers take to start on a busy machine.
    wait_until_ready(child)
    wait_until_ready(child)
    assert len(under(root)) == 2
    child.send_signal(number)
    child.wait()
    wait_until(lambda: is_gone(root))


@pytest.mark.parametrize("delay", [0.1, 0.4, 0.7])
def test_nothing_is_left_after_a_kill_during_a_start(start_child: StartChild, delay: float) -> None:
    child, root = start_child("")
    time.sleep(delay)
    child.kill()
    wait_until(lambda: is_gone(root))


def test_an_interrupted_copy_can_be_removed_by_the_account_of_the_servers(tmp_path: Path) -> None:
    """The reaper runs as that account, and the copy is made by root."""
    account = Account.for_servers()
    source, target = tmp_path / "source", tmp_path / "lab" / "copy"
    (source / "base" / "1").mkdir(parents=True)
    (source / "base" / "1" / "112").write_text("x")

    def interrupted(source: Path, target: Path) -> None:
        target.touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        account.copy_directory(source, target, interrupted)
    folders = [target.parent, target, target / "base", target / "base" / "1"]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in folders} == {
        (account.uid, account.gid)
    }


def test_an_exit_without_cleanup_leaves_nothing_although_a_forked_child_lives_on(
    start_child: StartChild,
) -> None:
    child, root = start_child("os.fork() or time.sleep(20); os._exit(0)")
    wait_until_ready(child)
    assert child.wait() == 0
    wait_until(lambda: is_gone(root))


def test_the_end_of_the_process_closes_the_lab_and_that_of_a_forked_child_does_not(
    start_child: StartChild,
) -> None:
    child, root = start_child(
        "os.fork() or sys.exit(0); os.wait(); assert os.path.exists(lab.root)"
    )
    wait_until_ready(child)
    assert child.wait() == 0
    wait_until(lambda: is_gone(root))


def test_a_removed_node_and_a_closed_lab_leave_nothing() -> None:
    lab = Lab()
    node = lab.primary(name="brief")
    lab.remove(node)
    assert not node.is_running
    assert not [path for path in lab.root.iterdir() if path.name.startswith("brief")]
    assert lab.nodes == {}
    with pytest.raises(LabError, match="not a node of this lab"):
        lab.remove(node)
    lab.primary(name="brief")
    with pytest.raises(TypeError, match="primary must be a Node, not str"):
        lab.standby("brief")  # type: ignore[arg-type]
    root = lab.root
    (root / "ours").mkdir()
    (root / "ours" / "file").touch()
    assert under(root)
    lab.close()
    assert is_gone(root)
    lab.close()
    with pytest.raises(LabError, match="the lab is closed"):
        lab.primary()


def test_nothing_is_left_after_an_exception_even_of_a_killed_server() -> None:
    memory = Path("/proc/sysvipc/shm")  # on Linux only
    lab = Lab()
    segment = ""

    def segments() -> set[str]:
        lines = memory.read_text().splitlines()[1:]
        return {line.split()[1] for line in lines}

    def failing() -> None:
        nonlocal segment
        with lab:
            node = lab.primary()
            # Its other shared memory is a file in the data directory, which the lab removes.
            assert one(node, "SHOW dynamic_shared_memory_type") == "mmap"
            lines = (node.data_directory / "postmaster.pid").read_text().splitlines()
            segment = lines[6].split()[1]
            node.kill()
            assert not memory.exists() or segment in segments()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert is_gone(lab.root)
    assert not memory.exists() or segment not in segments()


def test_the_reaper_gives_up_on_a_process_that_cannot_be_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, stuck = tmp_path / "lab", psutil.Process()
    root.mkdir()
    # Nothing kills a process that waits for a broken disk; this one stands for it.
    monkeypatch.setattr(_reaper, "_processes", lambda _: [stuck])
    monkeypatch.setattr(_reaper, "_send", lambda *_: None)
    monkeypatch.setattr(_reaper, "_GIVEN_UP_AFTER", 0.2)
    _reaper.reap(root)
    assert not root.exists()


def test_a_standby_streams_from_its_slot(cluster: Cluster) -> None:
    [row] = rows(cluster.primary, "SELECT * FROM pg_replication_slots WHERE slot_name = 'replica1'")
    assert row["active"]
    with cluster.standby.connect() as server:
        assert isinstance(server, Standby)
    with cluster.primary.connect() as server:
        assert isinstance(server, Primary)


def test_a_server_listens_on_loopback_only_and_requires_its_password(cluster: Cluster) -> None:
    node = cluster.primary
    assert one(node, "SHOW listen_addresses") == "127.0.0.1"
    assert one(node, "SHOW unix_socket_directories") == ""
    pid = int(str(one(node, "SELECT pg_backend_pid()"))) or 0
    assert pid
    postmaster = int((node.data_directory / "postmaster.pid").read_text().split("\n")[0])
    listening = [c for c in psutil.Process(postmaster).net_connections() if c.status == "LISTEN"]
    assert {c.laddr.ip for c in listening} == {"127.0.0.1"}
    with pytest.raises(pgreplkit.errors.ConnectionFailed, match="password"):
        pgreplkit.connect(node.conninfo, passfile="/dev/null")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers change accounts")
def test_roots_servers_run_as_an_unprivileged_account(cluster: Cluster) -> None:
    assert {process.username() for process in under(cluster.primary.data_directory)} == {"nobody"}


def test_the_password_is_shown_nowhere(pgreplkit_lab: Lab, cluster: Cluster) -> None:
    password = pgreplkit_lab.password
    shown = [repr(pgreplkit_lab), repr(cluster), cluster.primary.conninfo]
    for process in psutil.process_iter():
        try:
            shown += [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
    assert not [text for text in shown if password in text]


def test_the_password_is_stored_with_a_quick_hash(cluster: Cluster) -> None:
    stored = one(cluster.primary, "SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'")
    assert str(stored).startswith("SCRAM-SHA-256$1:")


@pytest.mark.pg(">=12")
def test_new_wal_files_are_not_filled_with_zeros(cluster: Cluster) -> None:
    assert one(cluster.primary, "SHOW wal_init_zero") == "off"


def test_settings_and_segment_size_are_those_asked_for(pgreplkit_lab: Lab) -> None:
    node = pgreplkit_lab.primary(
        name="settings",
        segment_size=SegmentSize.parse("1MB"),
        settings={
            "work_mem": "7MB",
            "cluster_name": "it's a 'test'",
            "wal_keep_size": "64MB",
            "max_connections": 17,
            "autovacuum": False,
        },
    )
    with node.connect() as server:
        assert server.wal_segment_size() == SegmentSize(1 << 20)
        values = {name: server.setting(name).value for name in ("work_mem", "cluster_name")}
        assert values == {"work_mem": 7 << 20, "cluster_name": "it's a 'test'"}
        assert server.setting("max_connections").value == 17
        assert server.setting("autovacuum").value is False
    node.stop()


def test_a_node_stops_and_starts_again_on_its_port(pgreplkit_lab: Lab) -> None:
    node = pgreplkit_lab.primary(name="stopping")
    run(node, "CREATE TABLE kept (n int)")
    port = node.port
    node.stop()
    assert not node.is_running
    node.stop()
    with pytest.raises(pgreplkit.errors.ConnectionFailed):
        node.connect()
    if sys.platform == "linux":
        # No other program gets its port.
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((node.host, port))
    node.start()
    assert node.is_running
    node.kill()
    assert not node.is_running
    node.kill()
    node.restart()
    node.restart()
    assert node.port == port
    assert rows(node, "SELECT * FROM kept") == []
    node.stop()


def test_a_start_that_fails_shows_the_servers_log(pgreplkit_lab: Lab) -> None:
    with pytest.raises(pgreplkit.errors.ServerStartFailed, match="no_such_setting"):
        pgreplkit_lab.primary(name="failing", settings={"no_such_setting": 1})


def test_a_name_can_be_used_again_after_a_failed_start(pgreplkit_lab: Lab) -> None:
    before = {*pgreplkit_lab.root.iterdir()}
    with pytest.raises(pgreplkit.errors.ServerStartFailed, match="no_such_setting"):
        pgreplkit_lab.primary(name="again", settings={"no_such_setting": 1})
    left = {path.name for path in {*pgreplkit_lab.root.iterdir()} - before}
    assert not {name for name in left if name.startswith("again")}
    primary = pgreplkit_lab.primary(name="again")
    with pytest.raises(pgreplkit.errors.ServerStartFailed, match="no_such_setting"):
        pgreplkit_lab.standby(primary, name="follower", settings={"no_such_setting": 1})
    assert "follower" not in pgreplkit_lab.nodes
    primary.stop()
    with pytest.raises(pgreplkit.errors.ServerStartFailed, match="pg_basebackup"):
        pgreplkit_lab.standby(primary, name="follower")
    primary.start()
    standby = pgreplkit_lab.standby(primary, name="follower")
    assert standby.is_running
    pgreplkit_lab.remove(standby)
    pgreplkit_lab.remove(primary)


def test_a_port_in_use_is_replaced(pgreplkit_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken, socket.socket() as free:
        for listener in (taken, free):
            listener.bind(("127.0.0.1", 0))
        taken.listen()
        ports = [taken.getsockname()[1], free.getsockname()[1]]
        free.close()
        given = iter(ports)
        monkeypatch.setattr("pgreplkit.lab.node.reserved_port", lambda _: next(given))
        node = pgreplkit_lab.primary(name="taken")
    assert node.port == ports[1]
    node.stop()


def test_a_name_is_unique_and_stays_within_the_folder(pgreplkit_lab: Lab) -> None:
    pgreplkit_lab.primary(name="unique").stop()
    # A user's clone, or anything else, is not overwritten.
    (pgreplkit_lab.root / "mine").write_text("mine")
    for name in ("unique", "../unique", "", "a b", "mine"):
        with pytest.raises(pgreplkit.errors.LabError):
            pgreplkit_lab.primary(name=name)
    assert (pgreplkit_lab.root / "mine").read_text() == "mine"


def test_the_error_for_a_missing_major_lists_the_installed_ones(pgreplkit_lab: Lab) -> None:
    with pytest.raises(ServerNotFound) as caught:
        pgreplkit_lab.primary(version="9.6")
    text = str(caught.value)
    assert "could not find a PostgreSQL 9.6 server" in text
    assert all(str(server.version) in text for server in find_servers())
    assert "pip install 'pgreplkit[lab]'" in text
    assert "pip install 'pgreplkit[lab17]'" in text
    assert "PGREPLKIT_SERVERS" in text


def test_a_variable_names_folders_of_servers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    newest = find_servers()[0]
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "pg").symlink_to(newest.bindir.parent)
    for folder in (tmp_path, tmp_path / "some", tmp_path / "some" / "pg"):
        monkeypatch.setenv("PGREPLKIT_SERVERS", f"/nowhere{os.pathsep}{folder}")
        servers = find_servers()
        assert [s.version for s in servers if s.source == "PGREPLKIT_SERVERS"] == [newest.version]


def test_servers_of_the_systems_packages_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "18").symlink_to(find_servers()[0].bindir.parent)
    # A folder that is found in several ways is listed once.
    monkeypatch.delenv("PGREPLKIT_SERVERS", raising=False)
    monkeypatch.setattr("pgreplkit.lab.installs._PACKAGES", ())
    monkeypatch.setattr("pgreplkit.lab.installs._SYSTEM", (f"{tmp_path}/*/bin",))
    assert f"system folder {tmp_path}/18/bin" in [server.source for server in find_servers()]


def test_servers_come_newest_first() -> None:
    versions = [server.version for server in find_servers()]
    assert versions == sorted(versions, reverse=True)
    assert len(versions) >= 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has folders that others cannot enter")
def test_servers_in_a_folder_that_the_account_cannot_enter_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packaged = next(s for s in find_servers() if s.source.startswith("package"))
    closed = tmp_path / "closed"
    package = packaged.bindir.parents[1]
    shutil.copytree(packaged.bindir.parent, closed / package.name / "pg", symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, closed / libraries.name)
    closed.chmod(0o700)
    monkeypatch.setenv("PGREPLKIT_SERVERS", str(closed))
    monkeypatch.setattr("pgreplkit.lab.installs._PACKAGES", ())
    with Lab() as lab:
        chosen = [s for s in lab.servers if s.source == "PGREPLKIT_SERVERS"]
        assert [s.bindir for s in chosen] == [closed / package.name / "pg" / "bin"]
        node = lab.primary(version=str(packaged.version))
        assert node.installation.bindir.is_relative_to(lab.root)
        assert one(node, "SELECT 1") == 1


def test_a_standbys_slot_is_created_once(pgreplkit_lab: Lab, cluster: Cluster) -> None:
    name = f"pg{cluster.major}-second"
    node = pgreplkit_lab.standby(cluster.primary, slot="second", name=name)
    assert isinstance(node, Node)
    node.stop()
    again = pgreplkit_lab.standby(cluster.primary, slot="second", name=f"{name}-again")
    assert one(again, "SELECT slot_name FROM pg_stat_wal_receiver") == "second"
    again.stop()
    with psycopg.connect(cluster.primary.conninfo) as connection:
        connection.execute("SELECT pg_drop_replication_slot('second')")


def test_a_copy_of_a_standby_does_not_take_its_slot(pgreplkit_lab: Lab, cluster: Cluster) -> None:
    cascade = pgreplkit_lab.standby(cluster.standby, name=f"pg{cluster.major}-cascade")
    assert one(cascade, "SELECT slot_name FROM pg_stat_wal_receiver") in (None, "")
    cascade.stop()


def test_an_invalid_slot_name_is_refused(pgreplkit_lab: Lab, cluster: Cluster) -> None:
    with pytest.raises(pgreplkit.errors.LabError, match="could not create slot 'No-Slot'"):
        pgreplkit_lab.standby(cluster.primary, slot="No-Slot", name="slotless")
