"""CommandControl: a server controlled by your commands, such as systemctl, ssh or kubectl."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from posixpath import dirname, join, normpath

from pgreplkit.errors import ControlFailed
from pgreplkit.host.programs import Programs, Run, unwritable_command
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.seconds import Timeout, checked_seconds
from pgreplkit.values.several import several

_SYSTEMD_CHANGING = {b"activating", b"deactivating", b"reloading", b"refreshing"}
"""States of a systemd unit that may have processes; their names are not translated."""


class CommandControl:
    """A server controlled by your own commands, each a list of arguments; no shell is used.

    ``start``, ``stop``, ``restart`` and ``is_running`` are complete commands, such as
    ``["systemctl", "start", "postgresql@16-main"]``. ``is_running`` must succeed if the server is
    running, and end with one of the exit statuses ``not_running`` if it is not: 3 is that of
    ``systemctl is-active`` and ``pg_ctl status``. Any other status, such as 255 of ssh, is an
    error. Without ``restart``, the server is stopped and started; ``promote`` is by default that
    of pg_ctl.

    ``run`` is a prefix for the programs that work on the server's files, such as
    ``["ssh", "db2", "sudo", "-u", "postgres"]``: test, cat, dd, mv, rm, mkdir, mktemp, ls, find,
    env, and the server's own programs in ``bindir``. Set ``through_shell`` if the prefix passes
    them to a shell, as ssh does; then they are quoted.
    """

    def __init__(
        self,
        data_directory: str,
        *,
        start: Sequence[str],
        stop: Sequence[str],
        is_running: Sequence[str],
        not_running: Collection[int] = (3,),
        restart: Sequence[str] | None = None,
        promote: Sequence[str] | None = None,
        run: Sequence[str] = (),
        through_shell: bool = False,
        bindir: str = "",
        timeout: Timeout = 600.0,
    ) -> None:
        checked_flags(through_shell=through_shell)
        self._data_dir = data_directory
        self._start = [*several(start, "start", at_least=1)]
        self._stop = [*several(stop, "stop", at_least=1)]
        self._is_running = [*several(is_running, "is_running", at_least=1)]
        self._not_running = {*several(not_running, "not_running")}
        self._restart = None if restart is None else [*several(restart, "restart", at_least=1)]
        self._prefix = [*several(run, "run")]
        self._through_shell, self._bindir = through_shell, bindir
        pg_ctl = self._at_host(
            [self._program("pg_ctl"), "promote", "-D", data_directory, "--no-wait"]
        )
        self._promote = pg_ctl if promote is None else [*several(promote, "promote", at_least=1)]
        self._timeout = checked_seconds(timeout, "a timeout")
        self._programs = Programs()

    @property
    def data_directory(self) -> str:
        """Path of the data directory on the server's host."""
        return self._data_dir

    def is_running(self) -> bool:
        """Return whether ``is_running`` succeeds.

        Raises: ControlFailed for an exit status that means neither yes nor no.
        """
        operation = "read the status of the server"
        asked = self._done(operation, self._is_running)
        if asked.returncode and asked.returncode not in self._not_running:
            found = f"{shlex.join(self._is_running)} ended with status {asked.returncode}"
            raise ControlFailed(operation, f"{found}, which means neither yes nor no: {asked.text}")
        # systemctl is-active ends with 3 for these as well. A server is activating during crash
        # recovery.
        is_changing = asked.output.strip() in _SYSTEMD_CHANGING
        return asked.returncode == 0 or is_changing

    def start(self) -> None:
        """Start the server, unless it is running."""
        if not self.is_running():
            self._must("start the server", self._start)

    def stop(self) -> None:
        """Stop the server if it is running, and check that it is down."""
        if self.is_running():
            self._must("stop the server", self._stop)
            if self.is_running():
                found = f"{shlex.join(self._stop)} succeeded, but the server is still running"
                raise ControlFailed("stop the server", found)

    def restart(self) -> None:
        """Stop the server if it is running, then start it."""
        if self._restart is None:
            self.stop()
            self.start()
        else:
            self._must("restart the server", self._restart)

    def promote(self) -> None:
        """Ask a standby to promote itself, without waiting for the promotion."""
        self._must("promote the server", self._promote)

    def read_file(self, name: str) -> bytes | None:
        """Return a file's content by its path in the data directory; None if it does not exist."""
        path = self._path(name)
        there = self._done(f"look for {path}", self._at_host(["test", "-e", path]))
        # test ends with 1 for no, and with more for an error.
        if there.returncode == 1:
            return None
        return self._must(f"read {path}", self._at_host(["cat", path])).output

    def write_file(self, name: str, content: bytes | None) -> None:
        """Replace a file atomically; None removes it."""
        path = self._path(name)
        if content is None:
            self._must(f"remove {path}", self._at_host(["rm", "-f", path]))
            return
        self._must(f"make a folder for {path}", self._at_host(["mkdir", "-p", dirname(path)]))
        # In the same directory, so that the rename is atomic.
        made = self._must(f"write {path}", self._at_host(["mktemp", f"{path}.XXXXXX"]))
        new = made.output.decode().strip()
        self._write(new, content)
        self._must(f"write {path}", self._at_host(["mv", "-f", new, path]))

    def list_folder(self, path: str) -> list[str] | None:
        """Return the names in a directory of the host; None if it does not exist."""
        there = self._done(f"look for {path}", self._at_host(["test", "-e", path]))
        if there.returncode == 1:
            return None
        listed = self._must(f"list {path}", self._at_host(["ls", "-A", path]))
        return listed.output.decode(errors="replace").splitlines()

    def remove_folder(self, path: str, *, content_only: bool = False) -> None:
        """Remove a directory of the host with its content, or only the content."""
        checked_flags(content_only=content_only)
        if self.list_folder(path) is None:
            return
        command = (
            ["find", path, "-mindepth", "1", "-delete"] if content_only else ["rm", "-rf", path]
        )
        self._must(f"remove {path}", self._at_host(command))

    def unwritable(self, path: str, *, recursive: bool = True) -> list[str]:
        """Return the paths in a directory that the server's account cannot write."""
        checked_flags(recursive=recursive)
        command = self._at_host(unwritable_command(path, recursive=recursive))
        run = self._done(f"find files in {path} that are not writable", command)
        return run.output.decode(errors="surrogateescape").splitlines()

    @contextmanager
    def private_file(self, content: bytes) -> Iterator[str]:
        """Create a file that only the server's account can read, for the time of a block.

        The context manager returns its path.
        """
        made = self._must("make a private file", self._at_host(["mktemp"]))
        path = made.output.decode().strip()
        try:
            self._write(path, content)
            yield path
        finally:
            self._must(f"remove {path}", self._at_host(["rm", "-f", path]))

    def run(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        on_line: Callable[[str], None] | None = None,
        is_wanted: Callable[[], bool] | None = None,
    ) -> None:
        """Run one of the server's own programs, and report each line of its output."""
        operation = f"run {program}"
        command = self._at_host(
            # The output is parsed; ssh and sudo do not pass the environment on.
            ["env", "LC_ALL=C", self._program(program), *several(arguments, "arguments")]
        )
        run = self._programs.follow(operation, command, on_line, is_wanted)
        if run.returncode:
            raise ControlFailed(operation, run.text)

    def __repr__(self) -> str:
        return f"<CommandControl of {self._data_dir} by {shlex.join(self._prefix) or 'this host'}>"

    def _path(self, name: str) -> str:
        return normpath(join(self._data_dir, name))

    def _program(self, name: str) -> str:
        return join(self._bindir, name)

    def _at_host(self, command: Sequence[str]) -> list[str]:
        quoted = [shlex.quote(part) for part in command] if self._through_shell else command
        return [*self._prefix, *quoted]

    def _write(self, path: str, content: bytes) -> None:
        # Unlike tee, dd does not repeat the content, which may be secret.
        command = ["dd", f"of={path}", "status=none", "conv=fsync"]
        self._must(f"write {path}", self._at_host(command), content)

    def _done(self, operation: str, command: Sequence[str], given: bytes = b"") -> Run:
        return self._programs.run(operation, command, given=given, timeout=self._timeout)

    def _must(self, operation: str, command: Sequence[str], given: bytes = b"") -> Run:
        run = self._done(operation, command, given)
        if run.returncode:
            raise ControlFailed(f"{operation} by {shlex.join(command)}", run.text)
        return run
