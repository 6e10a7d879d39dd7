"""CommandControl: a server that the user's own commands reach, as by systemctl, ssh or kubectl."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from posixpath import dirname, join, normpath

from pgreplkit.errors import ControlFailed
from pgreplkit.host.programs import Programs, Run, unwritable_command
from pgreplkit.values.seconds import checked_seconds
from pgreplkit.values.several import several

_SYSTEMD_CHANGING = {b"activating", b"deactivating", b"reloading", b"refreshing"}
"""What ``systemctl is-active`` prints of a unit whose processes may run; it is not translated."""


class CommandControl:
    """A server behind the user's own commands, each a list of arguments; no shell is used.

    ``start``, ``stop``, ``restart`` and ``is_running`` are whole commands, as in
    ``["systemctl", "start", "postgresql@16-main"]``. The last succeeds when the server runs, and
    ends with one of the statuses ``not_running`` when it does not: 3 is what
    ``systemctl is-active`` and ``pg_ctl status`` say. Any other, as ssh's 255, tells neither, and
    is an error. Without a restart it is stopped and started; without ``promote`` that is pg_ctl's.

    ``run`` goes before the programs that act on its files, as in
    ``["ssh", "db2", "sudo", "-u", "postgres"]``: test, cat, dd, mv, rm, mkdir, mktemp, ls, find,
    env, and the server's own in ``bindir``. ``through_shell`` says that it hands them to a shell,
    as ssh does; then they are quoted for it.
    """

    def __init__(
        self,
        data_dir: str,
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
        timeout: float = 120.0,
    ) -> None:
        self._data_dir = data_dir
        self._start = [*several(start, "start", at_least=1)]
        self._stop = [*several(stop, "stop", at_least=1)]
        self._is_running = [*several(is_running, "is_running", at_least=1)]
        self._not_running = {*several(not_running, "not_running")}
        self._restart = None if restart is None else [*several(restart, "restart", at_least=1)]
        self._prefix = [*several(run, "run")]
        self._through_shell, self._bindir = through_shell, bindir
        pg_ctl = self._at_host([self._program("pg_ctl"), "promote", "-D", data_dir, "--no-wait"])
        self._promote = pg_ctl if promote is None else [*several(promote, "promote", at_least=1)]
        self._timeout = checked_seconds(timeout, "a timeout")
        self._programs = Programs()

    @property
    def data_dir(self) -> str:
        """The data directory, as its host names it."""
        return self._data_dir

    def is_running(self) -> bool:
        """Whether the command for it succeeds; an error when it does not say."""
        tried = "ask whether the server runs"
        asked = self._done(tried, self._is_running)
        if asked.returncode and asked.returncode not in self._not_running:
            found = f"{shlex.join(self._is_running)} ended with status {asked.returncode}"
            raise ControlFailed(tried, f"{found}, which tells neither: {asked.text}")
        # systemctl ends with 3 for these, too; a server that recovers after a crash is activating.
        is_changing = asked.output.strip() in _SYSTEMD_CHANGING
        return asked.returncode == 0 or is_changing

    def start(self) -> None:
        """Start it; nothing happens when it runs."""
        if not self.is_running():
            self._must("start the server", self._start)

    def stop(self) -> None:
        """Stop it, and see that it is down; nothing happens when it is not running."""
        if self.is_running():
            self._must("stop the server", self._stop)
            if self.is_running():
                found = f"{shlex.join(self._stop)} succeeded, but the server still runs"
                raise ControlFailed("stop the server", found)

    def restart(self) -> None:
        """Stop it if it runs, and start it."""
        if self._restart is None:
            self.stop()
            self.start()
        else:
            self._must("restart the server", self._restart)

    def promote(self) -> None:
        """Ask a standby to become a primary, without waiting for it."""
        self._must("promote the server", self._promote)

    def read_file(self, name: str) -> bytes | None:
        """The content of a file, named from the data directory on; None when there is none."""
        path = self._path(name)
        there = self._done(f"look for {path}", self._at_host(["test", "-e", path]))
        if there.returncode == 1:
            return None
        return self._must(f"read {path}", self._at_host(["cat", path])).output

    def write_file(self, name: str, content: bytes | None) -> None:
        """Write a file at once or not at all; None removes it."""
        path = self._path(name)
        if content is None:
            self._must(f"remove {path}", self._at_host(["rm", "-f", path]))
            return
        self._must(f"make a folder for {path}", self._at_host(["mkdir", "-p", dirname(path)]))
        # Beside it, so that it takes the other's place at once.
        made = self._must(f"write {path}", self._at_host(["mktemp", f"{path}.XXXXXX"]))
        new = made.output.decode().strip()
        self._write(new, content)
        self._must(f"write {path}", self._at_host(["mv", "-f", new, path]))

    def list_folder(self, path: str) -> list[str] | None:
        """The names in a folder of the host; None when there is none."""
        there = self._done(f"look for {path}", self._at_host(["test", "-e", path]))
        if there.returncode == 1:
            return None
        listed = self._must(f"list {path}", self._at_host(["ls", "-A", path]))
        return listed.output.decode(errors="replace").splitlines()

    def remove_folder(self, path: str, *, content_only: bool = False) -> None:
        """Remove a folder of the host with all that is in it, or only what is in it."""
        if self.list_folder(path) is None:
            return
        command = (
            ["find", path, "-mindepth", "1", "-delete"] if content_only else ["rm", "-rf", path]
        )
        self._must(f"remove {path}", self._at_host(command))

    def unwritable(self, path: str, *, below: bool = True) -> list[str]:
        """Return what the server's account cannot write of a folder, and of all below it."""
        command = self._at_host(unwritable_command(path, below=below))
        run = self._done(f"look for files in {path} that cannot be written", command)
        return run.output.decode(errors="surrogateescape").splitlines()

    @contextmanager
    def private_file(self, content: bytes) -> Iterator[str]:
        """A file that only the server's account can read, gone after the block; gives its path."""
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
        """Run one of the server's own programs, telling each line that it prints."""
        tried = f"run {program}"
        command = self._at_host(
            ["env", "LC_ALL=C", self._program(program), *several(arguments, "arguments")]
        )
        run = self._programs.follow(tried, command, on_line, is_wanted)
        if run.returncode:
            raise ControlFailed(tried, run.text)

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
        # dd prints nothing of what it writes.
        command = ["dd", f"of={path}", "status=none", "conv=fsync"]
        self._must(f"write {path}", self._at_host(command), content)

    def _done(self, tried: str, command: Sequence[str], given: bytes = b"") -> Run:
        return self._programs.run(tried, command, given=given, timeout=self._timeout)

    def _must(self, tried: str, command: Sequence[str], given: bytes = b"") -> Run:
        run = self._done(tried, command, given)
        if run.returncode:
            raise ControlFailed(f"{tried} by {shlex.join(command)}", run.text)
        return run
