"""LocalControl: a server on this host, controlled with pg_ctl."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from stat import S_IMODE

import attrs
from pgtoolkit.ctl import PGCtl, Status

from pgreplkit.errors import ControlFailed
from pgreplkit.host.configfiles import replace_file
from pgreplkit.host.configuration import launch_of
from pgreplkit.host.programs import Programs, unwritable_command
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.seconds import Timeout, checked_seconds
from pgreplkit.values.several import several

_LIBPQ = re.compile(r"PG(?!_|DATA$|TZ$|LOCALEDIR$|SYSCONFDIR$)")
"""Environment variables with connection parameters for libpq, or a port for a server."""


def _service_file() -> dict[str, str]:
    """Return where the services are that a connection string may name."""
    name = "PGSERVICEFILE"
    return {name: os.environ[name]} if name in os.environ else {}


_EXPANDED = re.compile(r'["$`]|\\(?:\\|$)')
"""The characters that a shell interprets within double quotes."""


class LocalControl:
    """A server on this host, controlled with pg_ctl and the other programs of ``bindir``.

    When used by root, the programs run under the account that owns the data directory, or its
    parent directory as long as the data directory does not exist. By default, ``bindir`` is that
    of pg_config. The server's output is written to ``log_file``, by default pg_ctl.log in the data
    directory. Starting and stopping may take ``timeout`` seconds each.

    The server is started with its last command line, as ``pg_ctl restart`` does. Therefore a
    configuration outside of the data directory is found, such as Debian's in /etc.
    ``config_file`` is the main configuration file of a server that was never started.

    Raises: ControlFailed if there is no pg_ctl.
    """

    def __init__(
        self,
        data_directory: str | os.PathLike[str],
        *,
        bindir: str | os.PathLike[str] | None = None,
        log_file: str | os.PathLike[str] | None = None,
        config_file: str | os.PathLike[str] | None = None,
        timeout: Timeout = 600.0,
    ) -> None:
        self._data_dir = Path(data_directory).absolute()
        self._config_file = None if config_file is None else Path(config_file).absolute()
        self._timeout = max(1, round(checked_seconds(timeout, "a timeout")))
        self._log_file = Path(log_file or self._data_dir / "pg_ctl.log")
        try:
            self._ctl = PGCtl(Path(bindir) if bindir is not None else None)
            self._pg_ctl = self._ctl.pg_ctl
        except OSError as error:
            operation = f"control the server in {self._data_dir}"
            where = "" if bindir is None else f" in {os.fspath(bindir)}"
            raise ControlFailed(
                operation, f"{error}{where}", remedy="pass the directory of PostgreSQL's programs"
            ) from error

    @property
    def data_directory(self) -> str:
        """Path of the data directory."""
        return str(self._data_dir)

    def is_running(self) -> bool:
        """Return whether the postmaster is running.

        Source: pg_ctl status.
        """
        operation = f"read the status of the server in {self._data_dir}"
        command = self._ctl.status_cmd(self._data_dir)
        run = self._programs.run(operation, command, timeout=self._timeout)
        # Any other status means that the directory cannot be read, or does not exist.
        if run.returncode not in {Status.running, Status.not_running}:
            raise ControlFailed(operation, run.text)
        return run.returncode == Status.running

    def start(self) -> None:
        """Start the server and wait until it accepts connections, unless it is running."""
        if not self.is_running():
            self._insist_on_plain_paths()
            command = self._ctl.start_cmd(
                self._data_dir, wait=self._timeout, logfile=self._log_file
            )
            if self._server_options:
                command += ["-o", shlex.join(self._server_options)]
            self._pg_ctl_does("start", command)

    def stop(self) -> None:
        """Shut the server down in fast mode and wait for its end, if it is running."""
        if self.is_running():
            # Fast mode: smart mode would wait for every client to leave.
            command = self._ctl.stop_cmd(self._data_dir, mode="fast", wait=self._timeout)
            self._pg_ctl_does("stop", command)

    def restart(self) -> None:
        """Stop the server if it is running, then start it."""
        self._insist_on_plain_paths()
        self.stop()
        self.start()

    def insist_on_startable(self, operation: str, major: int) -> None:
        """Refuse a data directory in which no server would start, before it is filled.

        Raises: ControlFailed.
        """
        self._insist_on_plain_paths()
        try:
            mode = S_IMODE(self._data_dir.stat().st_mode)
        except FileNotFoundError:
            return  # pg_basebackup creates it with the right permissions.
        except OSError as error:
            raise ControlFailed(operation, error.strerror or str(error)) from error
        # The server insists on it. Before 11 the group may not read it either.
        if mode & (0o027 if major >= 11 else 0o077):
            found = f"{self._data_dir} has the permissions {mode:04o}, with which no server starts"
            raise ControlFailed(operation, found, remedy=f"chmod 0700 {self._data_dir}")

    def _insist_on_plain_paths(self) -> None:
        if "\n" in str(self._data_dir):
            raise ControlFailed(
                f"start the server in {str(self._data_dir)!r}",
                "its name contains a line feed: pg_ctl reads postmaster.pid, in which the directory"
                " is one line, and would not notice that the server runs",
                remedy="use a path without line feeds",
            )
        for path in map(str, (self._data_dir, self._log_file)):
            if _EXPANDED.search(path):
                raise ControlFailed(
                    f"start the server in {self._data_dir}",
                    f"pg_ctl passes {path!r} to a shell in double quotes, which would change it",
                    remedy="use a path without $, backticks, double quotes and double backslashes",
                )

    def promote(self) -> None:
        """Ask a standby to promote itself, without waiting for the promotion."""
        command = [str(self._pg_ctl), "promote", "-D", self.data_directory, "--no-wait"]
        self._pg_ctl_does("promote", command)

    def read_file(self, name: str) -> bytes | None:
        """Return a file's content by its path in the data directory; None if it does not exist."""
        try:
            return (self._data_dir / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ControlFailed(f"read {name}", error.strerror or str(error)) from error

    def write_file(self, name: str, content: bytes | None) -> None:
        """Replace a file atomically, readable by the server's account only; None removes it."""
        path = self._data_dir / name
        try:
            if content is None:
                path.unlink(missing_ok=True)
                return
            if not path.parent.exists():
                missing = [path.parent, *path.parent.parents]
                for folder in reversed([folder for folder in missing if not folder.exists()]):
                    folder.mkdir(mode=0o700)
                    # Made by root, they must belong to the server's account.
                    self._give(folder)
            replace_file(path, content)
            self._give(path)
        except OSError as error:
            raise ControlFailed(f"write {name}", error.strerror or str(error)) from error

    def list_folder(self, path: str) -> list[str] | None:
        """Return the names in a directory; None if it does not exist."""
        try:
            return sorted(entry.name for entry in Path(path).iterdir())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ControlFailed(f"list {path}", error.strerror or str(error)) from error

    def remove_folder(self, path: str, *, content_only: bool = False) -> None:
        """Remove a directory with its content, or only the content."""
        checked_flags(content_only=content_only)
        folder = Path(path)
        try:
            # Links are removed, and not what they lead to: a tablespace is somewhere else.
            for entry in [*folder.iterdir()] if folder.exists() else []:
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
            if folder.exists() and not content_only:
                folder.rmdir()
        except OSError as error:
            raise ControlFailed(f"remove {path}", error.strerror or str(error)) from error

    def unwritable(self, path: str, *, recursive: bool = True) -> list[str]:
        """Return the paths in a directory that the server's account cannot write."""
        checked_flags(recursive=recursive)
        run = self._programs.run(
            f"find files in {path} that are not writable",
            unwritable_command(path, recursive=recursive),
            timeout=self._timeout,
        )
        return run.output.decode(errors="surrogateescape").splitlines()

    @contextmanager
    def private_file(self, content: bytes) -> Iterator[str]:
        """Create a file that only the server's account can read, for the time of a block.

        The context manager returns its path.
        """
        handle, name = tempfile.mkstemp(prefix="pgreplkit-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            self._give(Path(name))
            yield name
        finally:
            Path(name).unlink()

    def run(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        on_line: Callable[[str], None] | None = None,
        is_wanted: Callable[[], bool] | None = None,
    ) -> None:
        """Run one of the server's own programs, and report each line of its output."""
        operation = f"run {program} on the server in {self._data_dir}"
        command = [str(self._ctl.bindir / program), *several(arguments, "arguments")]
        environment = {**(self._programs.environment or {}), **_service_file()}
        programs = attrs.evolve(self._programs, environment=environment)
        run = programs.follow(operation, command, on_line, is_wanted)
        if run.returncode:
            raise ControlFailed(operation, run.text)

    def __repr__(self) -> str:
        return f"<LocalControl of {self._data_dir}>"

    @property
    def config_file(self) -> str | None:
        """Return the main configuration file that was given."""
        return None if self._config_file is None else str(self._config_file)

    @property
    def _server_options(self) -> list[str]:
        if self._config_file is not None:
            return ["-c", f"config_file={self._config_file}"]
        return [*launch_of(self).arguments]

    @property
    def _home(self) -> Path:
        """Directory whose owner is the server's account."""
        return self._data_dir if self._data_dir.exists() else self._data_dir.parent

    @property
    def _programs(self) -> Programs:
        # The programs' messages are parsed, so they must be in English. libpq's variables are
        # removed: a server that inherits them would use them for its walreceiver.
        environment = {name: v for name, v in os.environ.items() if not _LIBPQ.match(name)}
        environment |= {"LC_ALL": "C", "LC_MESSAGES": "C"}
        owner = None
        if os.geteuid() == 0 and self._home.exists() and self._home.stat().st_uid != 0:
            owner = (self._home.stat().st_uid, self._home.stat().st_gid)
        return Programs(cwd=str(self._data_dir.parent), account=owner, environment=environment)

    def _give(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, self._home.stat().st_uid, self._home.stat().st_gid)

    def _pg_ctl_does(self, what: str, command: Sequence[str]) -> None:
        operation = f"{what} the server in {self._data_dir}"
        # pg_ctl has a limit of its own; this one is for a pg_ctl that hangs.
        run = self._programs.run(operation, command, timeout=self._timeout + 10)
        if run.returncode:
            raise ControlFailed(operation, f"{run.text}{self._log_tail()}")

    def _log_tail(self) -> str:
        try:
            # pg_ctl only says "could not start server; examine the log output".
            lines = self._log_file.read_text(errors="replace").splitlines()[-8:]
        except OSError:
            return ""
        return "\n".join(["", f"the end of {self._log_file}:", *lines])
