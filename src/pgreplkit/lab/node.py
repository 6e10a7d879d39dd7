"""Node: one throwaway server of a lab."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import sys
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Literal, TypeAlias

from pgtoolkit import conf, ctl
from psycopg.conninfo import make_conninfo

from pgreplkit import Primary, Standby, connect, standby_config
from pgreplkit.errors import ServerStartFailed, WaitTimeout
from pgreplkit.errors.extras import needs_extra
from pgreplkit.host.localcontrol import LocalControl
from pgreplkit.lab.account import Workplace
from pgreplkit.lab.installs import Installation
from pgreplkit.values.madeby import made_by
from pgreplkit.values.several import by_name
from pgreplkit.values.version import ServerVersion

with needs_extra("lab", "psutil"):
    import psutil

SettingText: TypeAlias = str | int | float | bool

HOST = "127.0.0.1"
USER = "postgres"
# Crash recovery on a machine busy with other tests takes much longer than a normal start.
_START_TIMEOUT = 60
# SIGKILL acts at once; the rest is time for the kernel to free the processes' memory.
_KILL_TIMEOUT = 10
# A free port may be taken before the server binds it; five times in a row is another fault.
_PORTS_TRIED = 5


@made_by("lab.primary() or lab.standby(primary)")
class Node:
    """A server of a lab, created by ``Lab.primary`` or ``Lab.standby``.

    It can be started, stopped, killed, restarted, promoted and connected to.
    """

    def __init__(self, name: str, installation: Installation, place: Workplace) -> None:
        self.name = name
        self.installation = installation
        self.data_directory: Path = place.root / name
        self.port: int = 0
        self._place = place
        self._ctl = ctl.PGCtl(installation.bindir, run_command=self._command)

    @property
    def version(self) -> ServerVersion:
        """The version of the server's programs."""
        return self.installation.version

    @property
    def major(self) -> int:
        """The major version, for example 18."""
        return self.version.major

    @property
    def host(self) -> str:
        """The loopback address, the only address that the server listens on."""
        return HOST

    @property
    def conninfo(self) -> str:
        """The connection string of the superuser; the password is in the passfile it names."""
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
        """The path of the server's log."""
        return self.data_directory.with_suffix(".log")

    def log_tail(self, lines: int = 12) -> str:
        """Return the last lines of the server's log; empty if there is no log yet."""
        if not self.log_file.exists():
            return ""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    @property
    def is_running(self) -> bool:
        """True while the postmaster is running."""
        return self._postmaster() is not None

    def _postmaster(self) -> psutil.Process | None:
        """Return the running postmaster, as ``pg_ctl status`` does, but without a process."""
        # Without a file, or while the server writes it; or the server was killed.
        with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
            [pid, *_] = (self.data_directory / "postmaster.pid").read_text().split("\n", 1)
            process = psutil.Process(int(pid))
            if process.name() == "postgres":  # not another one with the same pid
                return process
        return None

    @property
    def control(self) -> LocalControl:
        """The control object through which cluster operations stop, start and promote the node."""
        return LocalControl(
            self.data_directory, bindir=self.installation.bindir, log_file=self.log_file
        )

    def connect(self, **params: str | int | None) -> Primary | Standby:
        """Open a connection and return it as a Primary or Standby, as ``pgreplkit.connect``."""
        return connect(self.conninfo, **params)

    def configure(self, settings: Mapping[str, SettingText | None]) -> None:
        """Write settings to postgresql.conf; None removes a setting.

        They take effect at the next start or reload.
        """
        self._edit(self.data_directory / "postgresql.conf", by_name(settings, "settings"))

    def follow(self, upstream: Node, *, slot: str | None = None) -> None:
        """Configure the node as a standby of ``upstream``, from its next start on."""
        config = standby_config(
            make_conninfo(upstream.conninfo, dbname=None),
            server_version=self.version,
            slot=slot,
            application_name=self.name,
        )
        # A copy of a standby contains that standby's primary_slot_name, so None removes it.
        settings = {"primary_slot_name": None, **config.settings}
        self._edit(self.data_directory / config.settings_file, settings)
        if config.signal_file:
            self._place.make_file(self.data_directory / config.signal_file)

    def start(self) -> None:
        """Start the server and wait until it accepts connections.

        The first start chooses a free port, and later starts use the same one.

        Raises:
            ServerStartFailed: With the end of the server's log.
        """
        for attempt in range(_PORTS_TRIED):
            if not self.port or attempt:
                self.port = reserved_port(self)
                self.configure({"port": self.port})
            run = self._place.run(
                self._ctl.start_cmd(self.data_directory, wait=_START_TIMEOUT, logfile=self.log_file)
            )
            if run.returncode == 0:
                return
            # Another program may have bound the port since it was chosen.
            if "Address already in use" not in self.log_tail():
                break
        raise ServerStartFailed(f"could not start {self.name}: {run.stderr}{self._log_end()}")

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop the server and wait until it has shut down; do nothing if it is not running."""
        if self.is_running:
            self._ctl.stop(self.data_directory, mode=mode, wait=_START_TIMEOUT)

    def kill(self) -> None:
        """Kill the server's processes with SIGKILL, as after a crash or a power failure."""
        postmaster = self._postmaster()
        if postmaster is None:
            return
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        # Wait until they are reaped: for the check of postmaster.pid a zombie is a live process.
        psutil.wait_procs(processes, timeout=_KILL_TIMEOUT)

    def restart(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop the server if it is running, and start it again on the same port."""
        self.stop(mode)
        self.start()

    def promote(self) -> None:
        """Promote a standby and wait until it accepts writes.

        Raises:
            ServerStartFailed: If pg_ctl promote failed.
            WaitTimeout: If the server is still in recovery after 60 seconds.
        """
        self._command(
            [str(self._ctl.pg_ctl), "promote", "-D", str(self.data_directory)], check=True
        )
        self._wait_until(lambda server: isinstance(server, Primary), "promoted")

    def wait_for_streaming(self) -> None:
        """Wait until a standby's walreceiver is streaming.

        Raises:
            WaitTimeout: If it is not streaming after 60 seconds.
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
            f"timed out after {_START_TIMEOUT} s waiting until {self.name} is {what}:"
            f"{self._log_end()}"
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
                f"could not run {program} {args[1]} on {self.name}: {run.stderr}{run.stdout}"
                f"{self._log_end()}"
            )
        return run

    def _log_end(self) -> str:
        tail = self.log_tail()
        return f"\nend of {self.log_file.name}:\n{tail}" if tail else ""

    def __repr__(self) -> str:
        return f"<Node {self.name!r} PostgreSQL {self.version} at {HOST}:{self.port}>"


def quoted(path: Path) -> str:
    """Quote a path for pg_ctl, which passes its options to a shell."""
    return shlex.quote(str(path))


def reserved_port(owner: object) -> int:
    """Return a free port of this machine, on Linux reserved as long as the owner exists."""
    with socket.socket() as reserving:
        # A server can bind the port of a socket that does not listen, if both have this option.
        # Other programs do not get it when they ask for a free one, even while no server listens.
        reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserving.bind((HOST, 0))
        port: int = reserving.getsockname()[1]
        if sys.platform == "linux":
            weakref.finalize(owner, os.close, reserving.detach())
        return port
