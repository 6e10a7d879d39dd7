"""Controls: a server's host through pg_ctl and through commands, and its control file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from clusters import Cluster as Pair, Clusters, one, wait_until

from pgreplkit import LSN, CommandControl, ControlFile, LocalControl, NodeControl
from pgreplkit.errors import ControlFailed, InvalidControlFile
from pgreplkit.lab import Node
from pgreplkit.rows import ControlState

AS_OWNER = """
import os, shutil, sys
owner, command = os.stat(sys.argv[2]), sys.argv[3:]
if sys.argv[1] == "shell":
    command = ["/bin/sh", "-c", " ".join(command)]
program = shutil.which(command[0]) or command[0]
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(owner.st_gid); os.setuid(owner.st_uid)
os.umask(0o077)
os.execv(program, command)
"""


def as_owner(node: Node, way: str) -> list[str]:
    """Return the command prefix, like sudo, for the account that owns the data directory."""
    return [sys.executable, "-c", AS_OWNER, way, str(node.data_directory)]


def by_commands(node: Node, way: str = "exec") -> CommandControl:
    """Return a control of that node by commands, as through ssh or sudo."""
    pg_ctl = [*as_owner(node, "exec"), str(node.installation.bindir / "pg_ctl")]
    data = ["-D", str(node.data_directory)]
    return CommandControl(
        str(node.data_directory),
        start=[*pg_ctl, "start", *data, "-w", "-l", str(node.log_file)],
        stop=[*pg_ctl, "stop", *data, "-m", "fast"],
        is_running=[*pg_ctl, "status", *data],
        restart=None if way == "exec" else ["false"],
        run=as_owner(node, way),
        through_shell=way == "shell",
        bindir=str(node.installation.bindir),
    )


def by_shell(node: Node) -> CommandControl:
    """Return the same control with a prefix that passes the command to a shell, as ssh does."""
    return by_commands(node, "shell")


KINDS: list[Callable[[Node], NodeControl]] = [lambda node: node.control, by_commands, by_shell]


@pytest.fixture(params=KINDS, ids=["local", "command", "shell"])
def kind(request: pytest.FixtureRequest) -> Callable[[Node], NodeControl]:
    made: Callable[[Node], NodeControl] = request.param
    return made


def test_a_server_is_stopped_started_and_its_files_are_reached(
    clusters: Clusters, cluster: Pair, kind: Callable[[Node], NodeControl]
) -> None:
    node = clusters.lab.primary(version=cluster.major)
    control = kind(node)
    assert isinstance(control, NodeControl)
    assert control.data_directory == str(node.data_directory) in repr(control)
    assert control.is_running()
    control.start()
    control.stop()
    control.stop()
    assert not control.is_running()
    assert not node.is_running
    control.start()
    assert one(node, "SELECT 1") == 1

    odd = 'it\'s $HOME; \\ "odd".conf'
    assert control.read_file(odd) is None
    control.write_file(odd, b"one\0\n")
    control.write_file(f"../{node.name}.kept/{odd}", b"two")
    assert control.read_file(odd) == b"one\0\n"
    written = node.data_directory / odd
    kept = node.data_directory.with_suffix(".kept")
    for file in (written, kept / odd):
        found, owner = file.stat(), node.data_directory.stat()
        assert (found.st_mode & 0o777, found.st_uid) == (0o600, owner.st_uid)
    assert {path.name for path in kept.iterdir()} == {odd}
    control.write_file(odd, b"three")
    assert written.read_bytes() == b"three"
    control.write_file(odd, None)
    control.write_file(odd, None)
    assert not written.exists()
    with control.private_file(b"secret") as path:
        assert Path(path).read_bytes() == b"secret"
        assert Path(path).stat().st_mode & 0o777 == 0o600
        assert Path(path).stat().st_uid == node.data_directory.stat().st_uid
    assert not Path(path).exists()

    lines: list[str] = []
    control.run("postgres", ["--version"], on_line=lines.append)
    assert lines == [f"postgres (PostgreSQL) {node.version}"] or str(node.major) in lines[0]
    with pytest.raises(ControlFailed, match="no-such-option"):
        control.run("postgres", ["--no-such-option"])
    with pytest.raises(ControlFailed, match="no_such_program"):
        control.run("no_such_program", [])


def test_a_program_ends_when_its_output_is_no_longer_read(
    clusters: Clusters, cluster: Pair
) -> None:
    control = clusters.lab.primary(version=cluster.major, name="ended").control
    data_directory = Path(control.data_directory)
    control.stop()

    def enough(line: str) -> None:
        raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt):
        control.run("postgres", ["-D", control.data_directory], on_line=enough)

    def its_processes() -> list[str]:
        told = psutil.process_iter(["cmdline"])
        return [p.info["cmdline"] for p in told if str(data_directory) in (p.info["cmdline"] or [])]

    wait_until(lambda: not its_processes())


def test_failures_contain_the_servers_message(clusters: Clusters, cluster: Pair) -> None:
    node = clusters.lab.primary(version=cluster.major)
    node.stop()
    node.configure({"no_such_setting": "1"})
    with pytest.raises(ControlFailed, match="no_such_setting"):
        node.control.start()
    with pytest.raises(ControlFailed, match="not found in /nowhere; pass the directory of"):
        LocalControl(node.data_directory, bindir="/nowhere")
    with pytest.raises(ControlFailed, match="directory"):
        LocalControl(node.data_directory / "no", bindir=node.installation.bindir).start()
    with pytest.raises(TypeError, match="takes several items, not one str"):
        CommandControl("/x", start="pg_ctl start", stop=[], is_running=[])
    stubborn = CommandControl("/x", start=["false"], stop=["true"], is_running=["true"])
    with pytest.raises(ControlFailed, match="still running"):
        stubborn.stop()
    silent = CommandControl("/x", start=["true"], stop=["true"], is_running=["false"])
    with pytest.raises(ControlFailed, match="status 1, which means neither"):
        silent.is_running()
    with pytest.raises(ControlFailed, match="means neither"):
        silent.start()
    sure = CommandControl(
        "/x", start=["true"], stop=["true"], is_running=["false"], not_running=[1]
    )
    assert not sure.is_running()
    for word, runs in {"activating": True, "inactive": False, "failed": False}.items():
        asked = ["sh", "-c", f"echo {word}; exit 3"]
        unit = CommandControl("/x", start=["true"], stop=["true"], is_running=asked)
        assert unit.is_running() is runs
    with pytest.raises(ControlFailed, match="restart the server by false"):
        by_shell(node).restart()


def test_the_control_file_agrees_with_the_server(clusters: Clusters, cluster: Pair) -> None:
    hints = cluster.major % 2 == 0
    node = clusters.lab.primary(version=cluster.major, settings={"wal_log_hints": hints})

    def read() -> ControlFile:
        return ControlFile.from_bytes((node.data_directory / "global/pg_control").read_bytes())

    running = read()
    with node.connect() as server:
        identity = server.identity()
        checksums = server.setting("data_checksums").value
        last = one(node, "SELECT checkpoint_lsn::text FROM pg_control_checkpoint()")
    assert running.system_id == identity.system_id
    assert (running.timeline, running.checkpoint_lsn) == (1, LSN(str(last)))
    assert running.state is ControlState.IN_PRODUCTION
    assert not running.is_clean
    assert (running.wal_log_hints, running.data_checksums) == (hints, checksums)
    assert running.can_rewind == (hints or bool(checksums))
    node.stop()
    stopped = read()
    assert stopped.state is ControlState.SHUT_DOWN
    assert stopped.is_clean
    assert stopped.checkpoint_lsn > running.checkpoint_lsn
    standby = (cluster.standby.data_directory / "global/pg_control").read_bytes()
    assert ControlFile.from_bytes(standby).state is ControlState.IN_ARCHIVE_RECOVERY
    assert ControlFile.from_bytes(standby).min_recovery_timeline == 1


def test_other_bytes_are_refused_as_a_control_file(cluster: Pair) -> None:
    content = (cluster.primary.data_directory / "global/pg_control").read_bytes()
    for bad in (b"", content[:200], content[8:], content[:16] + b"\x63" + content[17:]):
        with pytest.raises(InvalidControlFile):
            ControlFile.from_bytes(bad)
    with pytest.raises(TypeError):
        ControlFile.from_bytes("text")  # type: ignore[arg-type]
