"""Node: one throwaway server of a lab."""

from __future__ import annotations

import contextlib
import shlex
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Literal, TypeAlias

import psutil
from packaging.version import Version
from pgtoolkit import conf, ctl
from psycopg.conninfo import make_conninfo

from pgreplkit import Primary, Standby, connect, standby_config
from pgreplkit.errors import ServerStartFailed, WaitTimeout
from pgreplkit.host.localcontrol import LocalControl
from pgreplkit.lab.account import Workplace
from pgreplkit.lab.installs import Installation

SettingText: TypeAlias = str | int | float | bool

HOST = "127.0.0.1"
USER = "postgres"
_START_TIMEOUT = 60
_KILL_TIMEOUT = 10
_PORTS_TRIED = 5


class Node:
    """A server of a lab: start, stop, kill and restart it, and connect to it.

    Made by ``Lab.primary`` and ``Lab.standby``.
    """

    def __init__(self, name: str, installation: Installation, place: Workplace) -> None:
        self.name = name
        self.installation = installation
        self.data_dir: Path = place.root / name
        self.port: int = 0
        self._place = place
        self._ctl = ctl.PGCtl(installation.bindir, run_command=self._command)

    @property
    def version(self) -> Version:
        """The version of its programs."""
        return self.installation.version

    @property
    def major(self) -> int:
        """The major of its version, as in 18."""
        return self.version.major

    @property
    def host(self) -> str:
        """The loopback address, the only one that it listens on."""
        return HOST

    @property
    def conninfo(self) -> str:
        """How to connect to it as superuser; the password stands in a file that it names."""
        return make_conninfo(
            "",
            host=HOST,
            port=self.port,
            user=USER,
            dbname="postgres",
            passfile=str(self._place.passfile),
        )

    @property
    def log_file(self) -> Path:
        """Where the server's log is written."""
        return self.data_dir.with_suffix(".log")

    def log_tail(self, lines: int = 12) -> str:
        """Return the last lines of the server's log; empty if there is no log yet."""
        if not self.log_file.exists():
            return ""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    @property
    def is_running(self) -> bool:
        """Whether its postmaster lives."""
        return self._ctl.status(self.data_dir) is ctl.Status.running

    @property
    def control(self) -> LocalControl:
        """What operations on a cluster act on it with."""
        return LocalControl(self.data_dir, bindir=self.installation.bindir, log_file=self.log_file)

    def connect(self, **params: str | int | None) -> Primary | Standby:
        """A Primary or Standby on a connection of its own, as ``pgreplkit.connect``."""
        return connect(self.conninfo, **params)

    def configure(self, settings: Mapping[str, SettingText | None]) -> None:
        """Write settings into postgresql.conf; they count from the next start or reload.

        None takes a setting out of it.
        """
        self._edit(self.data_dir / "postgresql.conf", settings)

    def follow(self, upstream: Node, *, slot: str | None = None) -> None:
        """Configure it as a standby of ``upstream`` from its next start on."""
        config = standby_config(
            make_conninfo(upstream.conninfo, dbname=None),
            server_version=self.version,
            slot=slot,
            application_name=self.name,
        )
        # Taken out without a slot: a copy of a standby has that standby's.
        settings = {"primary_slot_name": None, **config.settings}
        self._edit(self.data_dir / config.settings_file, settings)
        if config.signal_file:
            self._place.make_file(self.data_dir / config.signal_file)

    def start(self) -> None:
        """Start it and wait until it takes connections; on a free port at the first start.

        Raises: ServerStartFailed with the end of the log.
        """
        for attempt in range(_PORTS_TRIED):
            if not self.port or attempt:
                self.port = _free_port()
                self.configure({"port": self.port})
            run = self._place.run(
                self._ctl.start_cmd(self.data_dir, wait=_START_TIMEOUT, logfile=self.log_file)
            )
            if run.returncode == 0:
                return
            # Another program may have taken the port since it was chosen.
            if "Address already in use" not in self.log_tail():
                break
        raise ServerStartFailed(f"{self.name} did not start: {run.stderr}{self._log_end()}")

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop it and wait until it is down; nothing happens when it is not running."""
        if self.is_running:
            self._ctl.stop(self.data_dir, mode=mode, wait=_START_TIMEOUT)

    def kill(self) -> None:
        """End its processes with SIGKILL, as a crash or a power failure does."""
        if not self.is_running:
            return
        pid = int((self.data_dir / "postmaster.pid").read_text().split("\n", 1)[0])
        postmaster = psutil.Process(pid)
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        # Until they are collected: for PostgreSQL's lock file a zombie still lives.
        psutil.wait_procs(processes, timeout=_KILL_TIMEOUT)

    def restart(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop it if it runs, and start it again on the same port."""
        self.stop(mode)
        self.start()

    def promote(self) -> None:
        """Make a standby a primary, and wait until it writes.

        Raises: ServerStartFailed; WaitTimeout.
        """
        self._command([str(self._ctl.pg_ctl), "promote", "-D", str(self.data_dir)], check=True)
        self._wait_until(lambda server: isinstance(server, Primary), "promoted")

    def wait_until_streaming(self) -> None:
        """Wait until a standby's walreceiver streams.

        Raises: WaitTimeout.
        """
        self._wait_until(
            lambda server: isinstance(server, Standby) and server.replay_status().is_streaming,
            "streaming",
        )

    def _wait_until(self, holds: Callable[[Primary | Standby], bool], what: str) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            with self.connect() as server:
                if holds(server):
                    return
            time.sleep(0.05)
        raise WaitTimeout(
            f"{self.name} was not {what} after {_START_TIMEOUT} seconds: {self._log_end()}"
        )

    def _edit(self, path: Path, settings: Mapping[str, SettingText | None]) -> None:
        configuration = conf.parse(path if path.exists() else self._place.make_file(path))
        with configuration.edit() as entries:
            for name, value in settings.items():
                entries.pop(name, None)
                if value is not None:
                    entries.add(name, value)
        configuration.save()

    def _command(
        self, args: Sequence[str], *, check: bool = False, **_: object
    ) -> CompletedProcess[str]:
        run = self._place.run(args)
        if check and run.returncode:
            program = Path(args[0]).name
            raise ServerStartFailed(
                f"{program} {args[1]} failed on {self.name}: {run.stderr}{run.stdout}"
                f"{self._log_end()}"
            )
        return run

    def _log_end(self) -> str:
        tail = self.log_tail()
        return f"\nthe end of {self.log_file.name}:\n{tail}" if tail else ""

    def __repr__(self) -> str:
        return f"<Node {self.name!r} PostgreSQL {self.version} at {HOST}:{self.port}>"


def quoted(path: Path) -> str:
    """A path for pg_ctl, which hands its options to a shell."""
    return shlex.quote(str(path))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port
