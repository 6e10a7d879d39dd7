"""Lab: a folder of throwaway servers that goes away whole."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import shutil
import subprocess
import sys
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs
import psycopg
from psycopg.conninfo import make_conninfo

from pgreplkit.errors import LabError, ServerStartFailed
from pgreplkit.lab import _reaper
from pgreplkit.lab.account import Account, Workplace, copied
from pgreplkit.lab.installs import Installation, choose, copying_tool, find_servers
from pgreplkit.lab.node import HOST, USER, Node, SettingText, quoted
from pgreplkit.lab.template import copy_data_directory
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.version import ServerVersion

_SETTINGS: dict[str, SettingText] = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "fsync": False,
    "shared_buffers": "16MB",
    # Files in the data folder, so that nothing outside it survives a kill.
    "dynamic_shared_memory_type": "mmap",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Lab:
    """Throwaway PostgreSQL servers of any major that this machine has, primaries and standbys.

    Close it, or use it as a context manager: then every server is stopped and every file gone. The
    same happens when this process ends without closing it, even by ``kill -9``.

    >>> with Lab() as lab:
    ...     old, new = lab.primary(version=16), lab.primary(version=18)
    ...     old.major, new.major
    (16, 18)
    """

    def __init__(self) -> None:
        account = Account.for_servers()
        # Isolated (-I), so that nothing in the caller's folder can stand in for a module.
        self._reaper = subprocess.Popen(  # noqa: S603 - our own program
            [
                *(sys.executable, "-I", _reaper.__file__),
                *(str(account.uid), str(account.gid)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
        answer = self._reaper.stdout
        root = os.fsdecode(answer.readline().rstrip(b"\n")) if answer else ""
        self._finalizer = weakref.finalize(self, _release, self._reaper, root, os.getpid())
        if not root:
            raise LabError("the lab's folder could not be made: see the error output above")
        self.root: Path = Path(root)
        self.password: str = secrets.token_hex(16)
        self.servers: tuple[Installation, ...] = find_servers()
        self.nodes: dict[str, Node] = {}
        self._copies: dict[Path, Path] = {}
        self._templates: dict[tuple[Path, int | None], Path] = {}
        self._place = Workplace(self.root, account)
        self._place.make_file(self._place.passfile, f"{HOST}:*:*:{USER}:{self.password}\n")

    def primary(
        self,
        *,
        version: ServerVersion | None = None,
        name: str | None = None,
        segment_size: SegmentSize | None = None,
        settings: Mapping[str, SettingText] | None = None,
    ) -> Node:
        """A new running primary of that major; the newest that was found unless told.

        ``segment_size`` needs 11. ``settings`` go into its postgresql.conf.

        Raises: ServerNotFound, ServerStartFailed.
        """
        node = self._node(choose(self.servers, version), self._name(name, "primary"))
        if segment_size is not None and node.major < 11:
            raise LabError("a segment size is chosen when the server is built before 11")
        copy_data_directory(self._template(node, segment_size), node.data_dir)
        self._place.account.give(node.data_dir)
        node.configure({**_SETTINGS, **(settings or {})})
        return self._started(node)

    def _template(self, node: Node, segment_size: SegmentSize | None) -> Path:
        """Return a data directory as initdb makes it for the node's programs; made once."""
        wal_segsize = segment_size.bytes >> 20 if segment_size else None
        key = (node.installation.bindir, wal_segsize)
        if key not in self._templates:
            template = self.root / f"template-{len(self._templates)}"
            pwfile = self._place.make_file(template.with_suffix(".pw"), f"{self.password}\n")
            node._ctl.init(
                template,
                username=USER,
                pwfile=quoted(pwfile),
                auth="scram-sha-256",
                encoding="UTF8",
                no_locale=True,
                no_sync=True,
                **({"wal_segsize": str(wal_segsize)} if wal_segsize else {}),
            )
            pwfile.unlink()
            self._templates[key] = template
        return self._templates[key]

    def standby(
        self,
        primary: Node,
        *,
        slot: str | None = None,
        name: str | None = None,
        settings: Mapping[str, SettingText] | None = None,
    ) -> Node:
        """A new running standby of ``primary`` (itself a standby, for a cascade) that streams.

        With ``slot``, it streams from that physical slot, made on ``primary`` where it is missing.
        Its application_name is its name.

        Raises: ServerNotFound when no pg_basebackup fits; ServerStartFailed; WaitTimeout.
        """
        node = self._node(primary.installation, self._name(name, "standby"))
        if slot is not None:
            _make_slot(primary, slot)
        tool = self._usable(copying_tool(self.servers, primary.major))
        command = [
            str(tool.bindir / "pg_basebackup"),
            f"--dbname={make_conninfo(primary.conninfo, dbname='replication')}",
            f"--pgdata={node.data_dir}",
            "--no-password",
            "--checkpoint=fast",
            "--wal-method=stream",
            "--no-sync",
            *([f"--slot={slot}"] if slot else []),
        ]
        run = self._place.run(command)
        if run.returncode:
            raise ServerStartFailed(f"pg_basebackup of {primary.name} failed: {run.stderr}")
        node.follow(primary, slot=slot)
        node.configure(settings or {})
        self._started(node).wait_until_streaming()
        return node

    def remove(self, node: Node) -> None:
        """Stop one of its servers at once, and remove its files; its name can be used again.

        Raises: LabError when it is not one of them.
        """
        if self.nodes.get(node.name) is not node:
            raise LabError(f"there is no such node of this lab: {node!r}")
        node.stop("immediate")
        shutil.rmtree(node.data_dir)
        node.log_file.unlink(missing_ok=True)
        del self.nodes[node.name]

    def close(self) -> None:
        """End every server and remove every file of the lab."""
        self._finalizer()

    def _started(self, node: Node) -> Node:
        node.start()
        self.nodes[node.name] = node
        return node

    def _node(self, installation: Installation, name: str) -> Node:
        return Node(name, self._usable(installation), self._place)

    def _usable(self, installation: Installation) -> Installation:
        """The installation, or a copy of it where the servers' account cannot reach it."""
        bindir = installation.bindir
        if bindir not in self._copies:
            reachable = self._place.account.can_run(bindir / "postgres")
            self._copies[bindir] = bindir if reachable else self._copy(bindir)
        return attrs.evolve(installation, bindir=self._copies[bindir])

    def _copy(self, bindir: Path) -> Path:
        folder = self.root / f"programs-{len(self._copies)}"
        copy = copied(bindir, folder)
        self._place.account.give(folder)
        return copy

    def _name(self, name: str | None, role: str) -> str:
        if name is None:
            numbered = (f"{role}{number}" for number in itertools.count(1))
            return next(name for name in numbered if name not in self.nodes)
        if not re.fullmatch("[A-Za-z0-9_-]{1,60}", name):
            raise LabError(f"a node's name is of letters, digits, '_' and '-', not {name!r}")
        if name in self.nodes:
            raise LabError(f"there is a node {name!r} already")
        return name

    def __repr__(self) -> str:
        return f"<Lab {str(self.root)!r} with {', '.join(self.nodes) or 'no nodes yet'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _make_slot(primary: Node, slot: str) -> None:
    with primary.connect() as server:
        try:
            server.connection.execute(
                """SELECT pg_create_physical_replication_slot(%s, true)
                WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %s)""",
                [slot, slot],
            )
        except psycopg.Error as error:
            text = f"the slot {slot!r} cannot be created on {primary.name}: {error}"
            raise LabError(text) from error


def _release(reaper: subprocess.Popen[bytes], root: str, owner: int) -> None:
    # A forked child inherits this object, but the lab is not its to close.
    if os.getpid() != owner:
        return
    for pipe in (reaper.stdin, reaper.stdout):
        with contextlib.suppress(OSError):
            if pipe is not None:
                pipe.close()
    reaper.wait()
    # What we wrote there as root, the servers' account may not remove.
    if root:
        shutil.rmtree(root, ignore_errors=True)
