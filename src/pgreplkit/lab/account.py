"""The account that runs a lab's servers: not root, which PostgreSQL refuses."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import attrs

# The kernel's overflow uid and gid, for containers whose passwd file does not list the account.
_NOBODY = 65534
_PROGRAM_TIMEOUT = 300.0
"""Seconds for a program: on a busy machine, initdb and pg_basebackup take a minute."""


@attrs.frozen
class Account:
    """The account that owns a lab's files and processes."""

    uid: int
    gid: int

    @classmethod
    def for_servers(cls) -> Account:
        """Return the caller's account, or ``nobody`` if the caller is root."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        try:
            entry = pwd.getpwnam("nobody")
        except KeyError:
            return cls(_NOBODY, _NOBODY)
        return cls(entry.pw_uid, entry.pw_gid)

    @property
    def is_other(self) -> bool:
        """True if the account is not the caller's."""
        return self.uid != os.geteuid()

    def options(self) -> dict[str, Any]:
        """Return the options with which subprocess runs a program as the account."""
        if not self.is_other:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_run(self, program: Path) -> bool:
        """Return True if the account can execute the program and enter its parent directories."""
        try:
            subprocess.run(  # noqa: S603 - a server's own program
                [program, "--version"],
                cwd="/",
                capture_output=True,
                check=True,
                **self.options(),
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return True

    def copy_directory(
        self, source: Path, target: Path, copy: Callable[[Path, Path], object] = shutil.copy2
    ) -> None:
        """Copy a directory with its links; ``copy`` copies a file.

        The account owns each directory from the start: the reaper runs as that account, and must
        be able to remove a copy that was interrupted.
        """
        self._make_directory(target)
        shutil.copymode(source, target)
        with os.scandir(source) as entries:
            for entry in entries:
                self._copy(entry, target / entry.name, copy)

    def _copy(
        self, entry: os.DirEntry[str], target: Path, copy: Callable[[Path, Path], object]
    ) -> None:
        # Not followed: packages link their libraries to each other.
        if entry.is_symlink():
            target.symlink_to(Path(entry).readlink())
        elif entry.is_dir():
            self.copy_directory(Path(entry), target, copy)
            return
        elif entry.is_file():
            copy(Path(entry), target)
        else:
            return  # a socket or a pipe, which is not copied
        if self.is_other:
            os.chown(target, self.uid, self.gid, follow_symlinks=False)

    def _make_directory(self, path: Path) -> None:
        if not path.exists():
            self._make_directory(path.parent)
            path.mkdir(mode=0o700)
            if self.is_other:
                os.chown(path, self.uid, self.gid)

    def chown(self, path: Path) -> None:
        """Make the account the owner of a file, or of a directory and all its contents."""
        if self.is_other:
            for folder, names, files in os.walk(path):
                for name in (*names, *files):
                    os.chown(Path(folder, name), self.uid, self.gid, follow_symlinks=False)
            os.chown(path, self.uid, self.gid)


@attrs.frozen
class Workplace:
    """A lab's directory, and the account whose programs run in it."""

    root: Path
    account: Account

    @property
    def passfile(self) -> Path:
        """The password file (.pgpass format) of the lab's clients."""
        return self.root / "pgpass"

    def run(self, args: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program in the lab's directory, in a session that Ctrl-C does not reach.

        ``text`` is its standard input.

        The working directory matters: it is how the reaper recognizes the lab's processes.
        """
        return subprocess.run(  # noqa: S603 - a server's own programs
            args,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROGRAM_TIMEOUT,
            check=False,
            **self._options(),
        )

    def start(self, args: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a server that stays in the foreground, as ``run`` runs a program."""
        return subprocess.Popen(  # noqa: S603 - a server's own program
            args,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **self._options(),
        )

    def _options(self) -> dict[str, Any]:
        """Return the options of a program of the lab."""
        return {
            "cwd": self.root,
            "env": self._environment(),
            # A server refuses a data directory that others can read.
            "umask": 0o077,
            "start_new_session": True,
            **self.account.options(),
        }

    def _environment(self) -> dict[str, str]:
        # The variables of libpq and of the locale would change what the programs do.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
        own = {"HOME": str(self.root), "LC_ALL": "C", "PGPASSFILE": str(self.passfile)}
        return kept | own

    def make_file(self, path: Path, text: str = "") -> Path:
        """Create a file that only the account can read."""
        path.touch(mode=0o600)
        path.write_text(text)
        self.account.chown(path)
        return path


def copy_programs(bindir: Path, into: Path, account: Account) -> Path:
    """Copy a server's directory and its package's library directory; return the new bindir.

    Packaged programs find their libraries by a relative path, so the copy keeps the layout.
    """
    prefix, package = bindir.parent, bindir.parents[1]
    target = into / package.name / prefix.name
    account.copy_directory(prefix, target)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        account.copy_directory(libraries, into / libraries.name)
    return target / bindir.name
