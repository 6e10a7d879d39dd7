"""Archives of Barman and pgBackRest: a hole that their own checks pass over ends the window.

`nox -s archives` runs these tests; they need the programs, and a server 15 that both support.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import psycopg
import pytest
from clusters import wait_until
from psycopg.conninfo import conninfo_to_dict

from pgreplkit.errors import ServerNotFound
from pgreplkit.lab import Lab, Node
from pgreplkit.wal import (
    ArchiveLayout,
    Backup,
    WindowEnd,
    barman_backups,
    pgbackrest_backups,
    scan_archive,
)

pytestmark = pytest.mark.matrix
SEGMENT = re.compile("([0-9A-F]{24})(-[0-9a-f]{40})?([.].*)?")


@attrs.frozen
class Tool:
    """A backup tool, with a server whose WAL it archives."""

    lab: Lab
    node: Node
    command: tuple[str, ...]
    home: Path

    def run(self, *arguments: str) -> str:
        done = self.lab._place.run([*self.command, *arguments])
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self, segments: int) -> None:
        """Commit a row in each of several segments."""
        with psycopg.connect(self.node.conninfo, autocommit=True) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS t (i int)")
            for number in range(segments):
                connection.execute("INSERT INTO t VALUES (%s)", [number])
                connection.execute("SELECT pg_switch_wal()")

    def segments(self, folder: Path) -> list[Path]:
        return sorted(path for path in folder.rglob("*") if SEGMENT.fullmatch(path.name))


def program(lab: Lab, name: str) -> str:
    """Return a program that the lab's account can run: root's own folders are closed to it."""
    for folder in os.get_exec_path():
        with contextlib.suppress(OSError):
            lab._place.run([f"{folder}/{name}", "--help"])
            return f"{folder}/{name}"
    pytest.skip(f"needs the program {name}")


def server(lab: Lab) -> Node:
    try:
        return lab.primary(version="15", settings={"unix_socket_directories": str(lab.root)})
    except ServerNotFound:
        pytest.skip("needs PostgreSQL 15")


def folder(lab: Lab, name: str) -> Path:
    path = lab.root / name
    path.mkdir()
    lab._place.account.chown(path)
    return path


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture
def barman(lab: Lab) -> Iterator[Tool]:
    command = program(lab, "barman")
    node = server(lab)
    home = folder(lab, "barman")
    parts = conninfo_to_dict(node.conninfo)
    conninfo = " ".join(f"{key}={parts[key]}" for key in ("host", "port", "user", "dbname"))
    config = lab._place.make_file(
        lab.root / "barman.conf",
        f"[barman]\nbarman_user = nobody\nbarman_home = {home}\nlog_file = {home}/log\n"
        f"path_prefix = {node.installation.bindir}\n"
        f"[main]\ndescription = main\nconninfo = {conninfo}\nstreaming_conninfo = {conninfo}\n"
        "backup_method = postgres\nstreaming_archiver = on\nslot_name = barman\n"
        "create_slot = auto\ncompression = gzip\n",
    )
    tool = Tool(lab, node, (command, "-c", str(config)), home / "main")
    tool.run("cron")
    with node.connect() as primary:
        wait_until(lambda: bool(primary.slots()) and bool(primary.slot("barman").state.active))
    yield tool
    tool.run("receive-wal", "--stop", "main")


@pytest.fixture
def pgbackrest(lab: Lab) -> Tool:
    path = program(lab, "pgbackrest")
    node = server(lab)
    home = folder(lab, "pgbackrest")
    config = lab._place.make_file(
        lab.root / "pgbackrest.conf",
        f"[global]\nrepo1-path={home}\nlog-path={home}\nlock-path={home}\nspool-path={home}\n"
        "compress-type=zst\nstart-fast=y\n"
        f"[main]\npg1-path={node.data_directory}\npg1-port={node.port}\npg1-user=postgres\n"
        f"pg1-socket-path={lab.root}\n",
    )
    command = (path, f"--config={config}", "--stanza=main")
    rules = node.data_directory / "pg_hba.conf"
    rules.write_text(f"local all all trust\n{rules.read_text()}")
    archive_command = f"{' '.join(command)} archive-push %p"
    node.configure({"archive_mode": "on", "archive_command": archive_command})
    node.restart()
    tool = Tool(lab, node, command, home)
    tool.run("stanza-create")
    return tool


def check_hole(tool: Tool, folder: Path, backups: tuple[Backup, ...], *check: str) -> None:
    """Remove a segment: the tool's own check passes, and the windows end before it."""
    report = scan_archive(tool.home, verify=True)
    assert report.is_complete, str(report)
    assert {window.ended_by for window in report.windows(backups)} == {WindowEnd.END}
    lost = tool.segments(folder)[-3]
    lost.unlink()
    tool.run(*check)
    report = scan_archive(tool.home)
    [gap] = report.gaps
    assert lost.name[:24] in gap.found
    for window in report.windows(backups):
        assert window.ended_by is WindowEnd.GAP
        assert gap.wal is not None
        assert window.to_lsn is not None
        assert window.to_lsn <= gap.wal.start


def test_a_hole_in_barmans_archive_ends_the_window(barman: Tool) -> None:
    barman.run("switch-wal", "--force", "--archive", "main")
    barman.run("backup", "--wait", "main")
    barman.commit(5)
    barman.run("switch-wal", "--force", "--archive", "main")
    barman.run("archive-wal", "main")
    backups = barman_backups(barman.home)
    assert [one.is_complete for one in backups] == [True]
    assert scan_archive(barman.home).layout is ArchiveLayout.BARMAN
    check_hole(barman, barman.home / "wals", backups, "check", "main")


def test_a_hole_in_pgbackrests_archive_ends_the_windows(pgbackrest: Tool) -> None:
    pgbackrest.run("backup", "--type=full")
    pgbackrest.commit(2)
    pgbackrest.run("backup", "--type=incr")
    pgbackrest.commit(5)
    pgbackrest.run("check")
    backups = pgbackrest_backups(pgbackrest.run("info", "--output=json"))
    assert [one.type for one in backups] == ["full", "incremental"]
    assert scan_archive(pgbackrest.home).layout is ArchiveLayout.PGBACKREST
    check_hole(pgbackrest, pgbackrest.home / "archive", backups, "verify")
