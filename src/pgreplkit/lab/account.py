"""As whom servers run: PostgreSQL refuses root, so root's servers run as ``nobody``."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import attrs

_NOBODY = 65534


@attrs.frozen
class Account:
    """The account that owns a lab's files and processes."""

    uid: int
    gid: int

    @classmethod
    def for_servers(cls) -> Account:
        """The caller's own account, or ``nobody`` when that is root."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        try:
            entry = pwd.getpwnam("nobody")
        except KeyError:
            return cls(_NOBODY, _NOBODY)
        return cls(entry.pw_uid, entry.pw_gid)

    @property
    def is_other(self) -> bool:
        """Whether it is not the caller's own."""
        return self.uid != os.geteuid()

    def can_run(self, program: Path) -> bool:
        """Whether it may enter the folders above the program and execute it."""
        try:
            subprocess.run(  # noqa: S603 - a server's own program
                [program, "--version"],
                cwd="/",
                capture_output=True,
                check=True,
                user=self.uid if self.is_other else None,
                group=self.gid if self.is_other else None,
                extra_groups=[] if self.is_other else None,
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return True

    def give(self, path: Path) -> None:
        """Make it the owner of a folder or file, and of all within."""
        if self.is_other:
            for folder, names, files in os.walk(path):
                for name in (*names, *files):
                    os.chown(Path(folder, name), self.uid, self.gid, follow_symlinks=False)
            os.chown(path, self.uid, self.gid)


@attrs.frozen
class Workplace:
    """A lab's folder, and the account that works in it."""

    root: Path
    account: Account

    @property
    def passfile(self) -> Path:
        """The password file of libpq's clients."""
        return self.root / "pgpass"

    def run(self, args: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a program in the folder, out of reach of the terminal's Ctrl-C.

        The reaper finds what a lab left by that folder, so nothing is started elsewhere.
        """
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
        own = {"HOME": str(self.root), "LC_ALL": "C", "PGPASSFILE": str(self.passfile)}
        return subprocess.run(  # noqa: S603 - a server's own programs
            args,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=300,
            check=False,
            cwd=self.root,
            env=kept | own,
            umask=0o077,
            start_new_session=True,
            user=self.account.uid if self.account.is_other else None,
            group=self.account.gid if self.account.is_other else None,
            extra_groups=[] if self.account.is_other else None,
        )

    def make_file(self, path: Path, text: str = "") -> Path:
        """A file that only the account can read."""
        path.touch(mode=0o600)
        path.write_text(text)
        self.account.give(path)
        return path


def copied(bindir: Path, into: Path) -> Path:
    """A copy of a server's folder, and of the libraries that its package keeps beside it.

    Packaged programs find their libraries by the way from one to the other, so that way is kept.
    """
    prefix, package = bindir.parent, bindir.parents[1]
    target = into / package.name / prefix.name
    shutil.copytree(prefix, target, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, into / libraries.name, symlinks=True)
    return target / bindir.name
