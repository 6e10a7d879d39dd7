"""Barman and pgBackRest, each with a server 15 whose WAL it archives."""

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

from pgreplkit import SegmentSize
from pgreplkit.errors import ServerNotFound
from pgreplkit.lab import Lab, Node

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


def server(lab: Lab, segment_size: SegmentSize | None) -> Node:
    settings = {"unix_socket_directories": str(lab.root)}
    try:
        return lab.primary(version="15", settings=settings, segment_size=segment_size)
    except ServerNotFound:
        pytest.skip("needs PostgreSQL 15")


def folder(lab: Lab, name: str) -> Path:
    path = lab.root / name
    path.mkdir()
    lab._place.account.chown(path)
    return path


@contextlib.contextmanager
def barman_of(lab: Lab, segment_size: SegmentSize | None = None) -> Iterator[Tool]:
    """Start Barman, which streams the WAL of a new server."""
    command = program(lab, "barman")
    node = server(lab, segment_size)
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


def pgbackrest_of(lab: Lab, segment_size: SegmentSize | None = None) -> Tool:
    """Let a new server archive its WAL with pgBackRest."""
    path = program(lab, "pgbackrest")
    node = server(lab, segment_size)
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
