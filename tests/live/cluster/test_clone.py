"""Clones: a standby is copied with progress reports, and a failed clone leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import psutil
import psycopg
import pytest
from clusters import Cluster as Pair, Clusters, one, restored, rows, run, streaming, wait_until
from colours import Awaited, Colour
from htmlchecks import words_of

import pgreplkit
from pgreplkit import AsyncClonePlan, LocalControl
from pgreplkit.errors import ControlFailed
from pgreplkit.lab import Lab, Node
from pgreplkit.lab.installs import choose_pg_basebackup
from pgreplkit.lab.node import reserved_port
from pgreplkit.rows import CloneProgress
from pgreplkit.values.applicationname import application_name_for

pytestmark = pytest.mark.one_colour


class TwoFolders(LocalControl):
    """A host on which pg_basebackup is in another folder than the server."""

    def __init__(self, node: Node, tool: Path) -> None:
        super().__init__(
            node.data_directory, bindir=node.installation.bindir, log_file=node.log_file
        )
        self._tool = tool

    def run(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        on_line: Callable[[str], None] | None = None,
        is_wanted: Callable[[], bool] | None = None,
    ) -> None:
        other = LocalControl(self.data_directory, bindir=self._tool)
        other.run(program, arguments, on_line=on_line, is_wanted=is_wanted)


class Cloning(Awaited):
    """A sync clone behind the async interface."""

    def __aiter__(self) -> Cloning:
        return self

    async def __anext__(self) -> object:
        try:
            return next(cast(Iterator[object], self._target))
        except StopIteration:
            raise StopAsyncIteration from None


def vacant(lab: Lab, pair: Pair, name: str) -> tuple[Node, TwoFolders]:
    """Return a node of the lab without files, and the control of its host."""
    node = lab._node(pair.primary.installation, name)
    node.port = reserved_port(node)
    tool = lab._runnable(choose_pg_basebackup(lab.servers, pair.major))
    return node, TwoFolders(node, tool.bindir)


def clone(
    colour: Colour, conninfo: str, control: LocalControl, **options: object
) -> AsyncClonePlan:
    make = pgreplkit.aplan_clone if colour.name == "async" else pgreplkit.plan_clone
    made = make(conninfo, control.data_directory, control=control, **options)  # type: ignore[arg-type]
    return made if isinstance(made, AsyncClonePlan) else cast(AsyncClonePlan, Cloning(made))


def copying_processes(control: LocalControl) -> list[psutil.Process]:
    """Return the pg_basebackup processes that write to that directory."""
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "pg_basebackup"
        and any(control.data_directory in part for part in process.info["cmdline"] or [])
    ]


def fill(node: Node) -> None:
    """Write about 40 MB, once."""
    if one(node, "SELECT to_regclass('filled') IS NULL"):
        rows = "SELECT repeat('x', 1000) FROM generate_series(1, 40000)"
        run(node, f"CREATE TABLE filled AS {rows}")


async def test_a_clone_reports_its_progress_and_streams(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    fill(cluster.primary)
    node, control = vacant(clusters.lab, cluster, "cloned")
    reported: list[CloneProgress] = []
    made = clone(
        colour,
        cluster.primary.conninfo,
        control,
        slot="cloned",
        checkpoint="fast",
        max_rate=64 << 20,
        settings={"port": str(node.port)},
    )
    source = f"127.0.0.1:{cluster.primary.port}"
    assert words_of(made._repr_html_()).startswith(f"Clone source {source}")
    assert (made.to_dict()["slot"], made.to_dict()["source"]) == ("cloned", source)
    idle = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = {}"
    async for progress in made:
        reported.append(progress)
        # As a firewall does to a connection that is idle for long.
        if progress.phase == "copying":
            run(cluster.primary, idle.format("'pgreplkit'"))
    clusters.lab.nodes[node.name] = node
    phases = [*dict.fromkeys(progress.phase for progress in reported)]
    assert phases[-3:] == ["configuring", "starting", "done"]
    assert "copying" in phases
    sizes = [progress.bytes_done for progress in reported]
    assert sizes == sorted(sizes)
    assert reported[-1].bytes_total is not None
    assert 40_000_000 < reported[-1].bytes_done <= reported[-1].bytes_total * 1.01
    assert str(reported[-1]).endswith(" done")
    assert one(node, "SELECT pg_is_in_recovery()") is True
    sender = "SELECT application_name FROM pg_stat_replication WHERE application_name = 'cloned'"
    assert one(cluster.primary, sender) == "cloned"
    slot = "SELECT active FROM pg_replication_slots WHERE slot_name = 'cloned'"
    assert one(cluster.primary, slot) is True
    node.stop()
    with cluster.primary.connect() as primary:
        primary.slot("cloned").drop(force=True)


async def test_a_clone_without_a_slot_moves_tablespaces_and_keeps_the_password_private(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    # A standby on this host would replay the tablespace into the same folder.
    primary = clusters.lab.primary(version=cluster.major)
    fill(primary)
    node, control = vacant(clusters.lab, cluster, "moved")
    space, moved = (
        clusters.lab.root / f"space=1-{cluster.major}-{colour.name}",
        clusters.lab.root / f"space=2-{cluster.major}-{colour.name}",
    )
    space.mkdir()
    clusters.lab._place.account.chown(space)
    run(primary, f"CREATE TABLESPACE space LOCATION '{space}'")
    run(primary, "CREATE TABLE spaced TABLESPACE space AS SELECT 1 AS a")
    secret = clusters.lab.password
    conninfo = psycopg.conninfo.make_conninfo(
        primary.conninfo, passfile="/dev/null", password=secret, dbname=""
    )
    with pytest.raises(ControlFailed, match=r"space=1.* is not empty.*use tablespaces="):
        await clone(colour, conninfo, control).run()
    assert one(primary, "SELECT a FROM spaced") == 1
    made = clone(
        colour,
        conninfo,
        control,
        checkpoint="fast",
        max_rate=8 << 20,
        tablespaces={str(space): str(moved)},
        settings={"port": str(node.port)},
        **({"compression": "gzip"} if cluster.major >= 15 else {}),
    )
    seen = 0
    async for progress in made:
        for process in copying_processes(control):
            try:
                shown = " ".join(process.cmdline()) + str(process.environ())
            except psutil.Error:
                continue
            seen += 1
            assert secret not in shown
        if progress.share and progress.share > 0.3 and progress.phase == "copying":
            assert progress.remaining is not None
            assert "left" in progress.explanation
    clusters.lab.nodes[node.name] = node
    assert seen
    assert secret not in repr(made)
    assert one(node, "SELECT a FROM spaced") == 1
    assert [path.name for path in moved.iterdir()]


@pytest.mark.parametrize("slot", ["given_up", None])
async def test_an_abandoned_clone_leaves_nothing(
    clusters: Clusters, cluster: Pair, colour: Colour, slot: str | None
) -> None:
    fill(cluster.primary)
    node, control = vacant(clusters.lab, cluster, "given_up")
    made = clone(
        colour,
        cluster.primary.conninfo,
        control,
        slot=slot,
        checkpoint="fast",
        max_rate=1 << 20,
    )
    async for progress in made:
        if progress.bytes_done > 1 << 20:
            break
    assert node.data_directory.exists()
    assert copying_processes(control)
    await made.close()
    assert not node.data_directory.exists()
    wait_until(lambda: not copying_processes(control))
    slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'given_up'"
    assert one(cluster.primary, slots) == 0


KILLED = """
import sys
from pgreplkit import plan_clone
conninfo, folder, bindir = sys.argv[1:]
clone = plan_clone(
    conninfo, folder, bindir=bindir, slot="killed", checkpoint="fast", max_rate=8 << 20,
    start_server=False
)
for progress in clone:
    if progress.bytes_done > 1 << 20:
        print("copying", flush=True)
"""


@pytest.mark.matrix
@pytest.mark.pg(">=15")
def test_pg_basebackup_ends_if_its_parent_is_killed(clusters: Clusters, cluster: Pair) -> None:
    fill(cluster.primary)
    node, control = vacant(clusters.lab, cluster, "killed")
    given = [cluster.primary.conninfo, control.data_directory, str(control._tool)]
    process = subprocess.Popen([sys.executable, "-c", KILLED, *given], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"copying\n"
        left = copying_processes(control)
        process.kill()
    assert left
    _, alive = psutil.wait_procs(left, timeout=30)
    assert not alive
    assert (node.data_directory / "backup_label").exists()
    with cluster.primary.connect() as primary:
        primary.slot("killed").drop()
    control.remove_folder(control.data_directory)


async def test_a_waiting_clone_reports_the_checkpoint_and_can_be_closed(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    node, control = vacant(clusters.lab, cluster, "waiting")
    run(cluster.primary, "CREATE TABLE dirtied AS SELECT generate_series(1, 100000) AS a")
    node.data_directory.mkdir()
    clusters.lab._place.account.chown(node.data_directory)
    made = clone(colour, cluster.primary.conninfo, control, start_server=False)
    async for progress in made:
        if progress.elapsed.total_seconds() > 1:
            break
    assert progress.phase == "waiting for a checkpoint"
    assert "checkpoint='fast' does not wait" in progress.explanation
    assert progress.checkpoint_limit is not None
    assert 100 < progress.checkpoint_limit.total_seconds() < 300
    await made.close()
    assert [*node.data_directory.iterdir()] == []
    node.data_directory.rmdir()
    run(cluster.primary, "DROP TABLE dirtied")
    # The server notices the lost client only after the checkpoint.
    run(cluster.primary, "CHECKPOINT")


@pytest.mark.parametrize("folder", ["réplica-süd", "standby-" + "0123456789" * 6])
async def test_a_directory_of_any_name_gives_a_valid_application_name(
    clusters: Clusters, cluster: Pair, colour: Colour, folder: str
) -> None:
    node, control = vacant(clusters.lab, cluster, folder)
    name = application_name_for(folder)
    settings = {"port": str(node.port)}
    await clone(
        colour, cluster.primary.conninfo, control, checkpoint="fast", settings=settings
    ).run()
    clusters.lab.nodes[node.name] = node
    sender = "SELECT state FROM pg_stat_replication WHERE application_name = '{}'"
    assert one(cluster.primary, sender.format(name)) == "streaming"
    clusters.lab.remove(node)


async def test_an_application_name_is_checked_before_anything_is_copied(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    node, control = vacant(clusters.lab, cluster, "misnamed")
    for name in ("x" * 64, "réplica", "a\nb"):
        with pytest.raises(ValueError, match="an application_name has"):
            clone(colour, cluster.primary.conninfo, control, application_name=name)
    assert not node.data_directory.exists()


async def test_an_impossible_clone_is_refused_before_any_change(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    node, control = vacant(clusters.lab, cluster, "refused")
    node.data_directory.mkdir()
    (node.data_directory / "mine").write_text("mine")
    with pytest.raises(ControlFailed, match="not empty and was not changed: it contains 'mine'"):
        await clone(colour, cluster.primary.conninfo, control).run()
    assert [path.name for path in node.data_directory.iterdir()] == ["mine"]
    (node.data_directory / "mine").unlink()
    node.data_directory.chmod(0o755)
    # The copy would be complete before the server refuses to start.
    with pytest.raises(ControlFailed, match="permissions 0755, with which no server starts; chmod"):
        await clone(colour, cluster.primary.conninfo, control).run()
    node.data_directory.rmdir()
    expanded = LocalControl(node.data_directory.with_name("$HOME"), bindir=control._tool)
    with pytest.raises(ControlFailed, match="to a shell in double quotes"):
        await clone(colour, cluster.primary.conninfo, expanded).run()
    broken = LocalControl(node.data_directory.with_name("two\nlines"), bindir=control._tool)
    with pytest.raises(ControlFailed, match="contains a line feed"):
        await clone(colour, cluster.primary.conninfo, broken).run()
    nowhere = LocalControl(node.data_directory / "no" / "where", bindir=control._tool)
    with pytest.raises(ControlFailed, match="there is no folder"):
        await clone(colour, cluster.primary.conninfo, nowhere).run()
    secret = psycopg.conninfo.make_conninfo(cluster.primary.conninfo, sslpassword="top secret")
    # Before 13, pg_basebackup does not know the parameter.
    error, found = (
        (ControlFailed, "would show sslpassword")
        if cluster.major >= 13
        else (pgreplkit.errors.UnsupportedByServer, "sslpassword: it needs PostgreSQL 13")
    )
    with pytest.raises(error, match=found) as caught:
        await clone(colour, secret, control).run()
    assert "top secret" not in str(caught.value)

    run(cluster.primary, "SELECT pg_create_logical_replication_slot('decoding', 'pgoutput')")
    try:
        with pytest.raises(pgreplkit.errors.ServerError, match="slot is logical; drop it first"):
            await clone(colour, cluster.primary.conninfo, control, slot="decoding").run()
    finally:
        run(cluster.primary, "SELECT pg_drop_replication_slot('decoding')")
    with pytest.raises(pgreplkit.errors.SlotActive):
        await clone(colour, cluster.primary.conninfo, control, slot="replica1").run()
    with pytest.raises(pgreplkit.errors.ConnectionFailed):
        await clone(colour, "host=127.0.0.1 port=1", control).run()
    with cluster.primary.connect() as primary:
        primary.create_physical_slot("kept")
        try:
            # The role may log in, but not replicate.
            stranger = psycopg.conninfo.make_conninfo(
                cluster.primary.conninfo, user="stranger", password="stranger"
            )
            with pytest.raises(ControlFailed, match="pg_basebackup"):
                await clone(
                    colour, stranger, control, slot="kept", checkpoint="fast", start_server=False
                ).run()
            assert not primary.slot("kept").state.active
        finally:
            primary.slot("kept").drop(force=True)
    assert not node.data_directory.exists()
    slots = rows(cluster.primary, "SELECT slot_name FROM pg_replication_slots")
    assert [row["slot_name"] for row in slots] == ["replica1"]
    if cluster.major < 15:
        with pytest.raises(pgreplkit.errors.UnsupportedByServer, match="compression"):
            await clone(colour, cluster.primary.conninfo, control, compression="gzip").run()
    with pytest.raises(ValueError, match="the control is of"):
        pgreplkit.plan_clone("", "/elsewhere", control=control)
    for bad in (
        {"max_rate": 5},
        {"wal_method": "none"},
        {"checkpoint": "now"},
        {"compression": "rar"},
        {"tablespaces": {"a": "/b"}},
    ):
        with pytest.raises(ValueError, match="must"):
            clone(colour, cluster.primary.conninfo, control, **bad)


@pytest.mark.matrix
@pytest.mark.pg(">=12")
async def test_another_standby_of_the_same_name_does_not_count_as_the_clone(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    node, control = vacant(clusters.lab, cluster, "namesake")
    settings = {"port": str(node.port), "primary_conninfo": "host=127.0.0.1 port=1"}
    made = clone(
        *(colour, cluster.primary.conninfo, control),
        checkpoint="fast",
        settings=settings,
        timeout=2,
    )
    with (
        streaming(cluster.primary, None, name="namesake"),
        pytest.raises(pgreplkit.errors.WaitTimeout, match="the copy is complete and was started"),
    ):
        await made.run()
    clusters.lab.nodes[node.name] = node


@pytest.mark.matrix
async def test_a_copy_that_does_not_start_is_kept(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    node, control = vacant(clusters.lab, cluster, "stays")
    settings = {"port": str(cluster.primary.port)}
    made = clone(colour, cluster.primary.conninfo, control, checkpoint="fast", settings=settings)
    with pytest.raises(ControlFailed, match="Address already in use"):
        await made.run()
    assert (node.data_directory / "PG_VERSION").exists()
    clusters.lab.nodes[node.name] = node
    node.configure({"port": node.port})
    for name in ("postgresql.auto.conf", "postgresql.conf"):
        path = node.data_directory / name
        text = path.read_text().replace(f"port = '{cluster.primary.port}'", "")
        path.write_text(text)
    node.start()
    wait_until(lambda: one(node, "SELECT count(*) FROM pg_stat_wal_receiver") == 1)


async def test_the_clone_of_a_restored_primary_stays_a_standby(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    source = clusters.lab.primary(version=cluster.major, name="source")
    run(source, "CREATE TABLE written (id int)")
    restored(source)
    source.restart()
    node, control = vacant(clusters.lab, cluster, "of-restored")
    port = {"port": str(node.port)}
    await clone(colour, source.conninfo, control, checkpoint="fast", settings=port).run()
    clusters.lab.nodes[node.name] = node
    run(source, "INSERT INTO written VALUES (1)")
    wait_until(lambda: one(node, "SELECT count(*) FROM written") == 1)
    assert one(node, "SELECT pg_is_in_recovery()") is True


@pytest.mark.parametrize("way", ["environment", "service", "hosts"])
async def test_a_clone_gets_the_resolved_address_of_its_primary(
    clusters: Clusters,
    cluster: Pair,
    colour: Colour,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab, source = clusters.lab, cluster.primary
    parts = {"host": source.host, "port": str(source.port), "user": "postgres"}
    with monkeypatch.context() as patched:
        if way == "environment":
            for name, value in {**parts, "password": lab.password}.items():
                patched.setenv(f"PG{name.upper()}", value)
            conninfo = ""
        elif way == "service":
            # pg_basebackup reads the secret of the key there: an argument would show it to all.
            secrets = {"password": lab.password, "sslpassword": "of-the-key"}
            lines = [f"{n}={v}\n" for n, v in {**parts, **secrets}.items()]
            file = source.data_directory.with_name(f"services-{colour.name}.conf")
            lab._place.make_file(file, "".join(["[source]\n", *lines]))
            patched.setenv("PGSERVICEFILE", str(file))
            conninfo = "service=source"
        else:
            # The standby is the first host, and a walreceiver would also try it first.
            ports = f"{cluster.standby.port},{source.port}"
            conninfo = f"host=127.0.0.1,127.0.0.1 port={ports} user=postgres"
            conninfo += f" password={lab.password} target_session_attrs=read-write"
        node, control = vacant(lab, cluster, f"by-{way}")
        port = {"port": str(node.port)}
        await clone(colour, conninfo, control, checkpoint="fast", settings=port).run()
    lab.nodes[node.name] = node
    node.restart()
    node.wait_for_streaming()
    with node.connect() as standby:
        assert isinstance(standby, pgreplkit.Standby)
        upstream = standby.upstream()
        assert upstream is not None
        assert (upstream.host, upstream.port) == (source.host, source.port)


async def test_a_clone_without_a_configuration_file_is_refused_before_the_copy(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    source = clusters.lab.primary(version=cluster.major, name="debian")
    source.stop()
    etc = source.data_directory.with_name(f"etc-{cluster.major}-{colour.name}")
    etc.mkdir()
    owner = source.data_directory.stat()
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (source.data_directory / name).rename(etc / name)
    with (etc / "postgresql.conf").open("a") as file:
        file.write(f"data_directory = '{source.data_directory}'\n")
        for name in ("hba", "ident"):
            file.write(f"{name}_file = '{etc}/pg_{name}.conf'\n")
    for path in (etc, *etc.iterdir()):
        os.chown(path, owner.st_uid, owner.st_gid)
    bindir = source.installation.bindir
    config_file = etc / "postgresql.conf"
    LocalControl(source.data_directory, bindir=bindir, config_file=config_file).start()
    node, control = vacant(clusters.lab, cluster, "without-configuration")
    made = clone(colour, source.conninfo, control, checkpoint="fast", slot="unused")
    with pytest.raises(ControlFailed, match="no configuration file"):
        await made.run()
    assert not node.data_directory.exists()
    assert rows(source, "SELECT FROM pg_replication_slots") == []
