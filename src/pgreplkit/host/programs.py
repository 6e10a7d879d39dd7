"""Running programs by their arguments, never through a shell."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from pgreplkit.errors import ControlFailed

_KEPT_LINES = 12
_LOOK_EVERY = 0.2


@attrs.frozen
class Run:
    """How a program ended, and what it printed."""

    returncode: int
    output: bytes
    errors: bytes = b""

    @property
    def text(self) -> str:
        """The last lines of what it printed, for an error's text."""
        printed = self.errors.strip() or self.output.strip()
        lines = printed.decode(errors="replace").splitlines()
        return "\n".join(lines[-_KEPT_LINES:]) or f"it ended with status {self.returncode}"


@attrs.frozen
class Programs:
    """Runs programs in one folder, as one account, with one environment."""

    cwd: str | None = None
    account: tuple[int, int] | None = None
    """User and group id, when it is not the caller's."""
    environment: Mapping[str, str] | None = attrs.field(default=None, repr=False)

    def run(
        self, tried: str, arguments: Sequence[str], *, given: bytes = b"", timeout: float
    ) -> Run:
        """Run it to its end, at most ``timeout`` seconds.

        Raises: ControlFailed when it cannot be started, or did not end.
        """
        pipe = subprocess.PIPE
        with self._started(tried, arguments, stdin=pipe, stderr=pipe) as process:
            try:
                output, errors = process.communicate(given, timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise ControlFailed(tried, f"it did not end in {timeout:g} s") from None
            return Run(process.returncode, output, errors)

    def follow(
        self,
        tried: str,
        arguments: Sequence[str],
        on_line: Callable[[str], None] | None,
        is_wanted: Callable[[], bool] | None,
    ) -> Run:
        """Run it to its end, however long that takes, telling each line that it prints.

        It is ended when ``is_wanted`` says no, or one of them raises.
        """
        kept: list[str] = []
        null, same = subprocess.DEVNULL, subprocess.STDOUT
        # Should we be killed, it goes on to its end: a pg_rewind that breaks off when it cannot
        # print spoils the server, and a child of pg_basebackup would receive WAL for ever.
        with self._started(
            tried, arguments, stdin=null, stderr=same, restore_signals=False
        ) as process:
            try:
                for line in _lines(process):
                    if is_wanted is not None and not is_wanted():
                        raise ControlFailed(tried, "it is not wanted any more, and was ended")
                    if line:
                        kept = [*kept[-_KEPT_LINES:], line]
                        if on_line:
                            on_line(line)
            except BaseException:
                # With its children, as the one of pg_basebackup that receives WAL.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                raise
        return Run(process.returncode, "\n".join(kept).encode())

    def _started(
        self,
        tried: str,
        arguments: Sequence[str],
        *,
        stdin: int,
        stderr: int,
        restore_signals: bool = True,
    ) -> subprocess.Popen[bytes]:
        user, group = self.account or (None, None)
        try:
            return subprocess.Popen(  # noqa: S603 - a server's own programs, or the user's
                arguments,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=self.cwd,
                env=self.environment,
                umask=0o077,
                restore_signals=restore_signals,
                # Out of reach of the terminal's Ctrl-C, which would stop a server with us.
                start_new_session=True,
                user=user,
                group=group,
                extra_groups=None if self.account is None else [],
            )
        except OSError as error:
            found = f"{arguments[0]}: {error.strerror or error}"
            if self.cwd is not None and not Path(self.cwd).exists():
                found = f"there is no folder {self.cwd}"
            raise ControlFailed(tried, found) from error


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """The lines that it prints until it ends, and empty ones while it prints nothing."""
    output = process.stdout
    if output is None:
        return
    rest = b""
    while True:
        if not select.select([output], [], [], _LOOK_EVERY)[0]:
            yield ""
            continue
        read = os.read(output.fileno(), 1 << 16)
        *lines, rest = re.split(rb"[\r\n]", rest + read)
        yield from (line.decode(errors="replace") for line in lines if line.strip())
        if not read:
            if rest.strip():
                yield rest.decode(errors="replace")
            return


def unwritable_command(path: str, *, below: bool) -> list[str]:
    """Return the command that lists what its account cannot write.

    find asks the kernel, which knows access control lists, immutable files and read-only mounts.
    """
    depth = [] if below else ["-maxdepth", "0"]
    return ["find", "-L", path, *depth, "!", "-type", "l", "!", "-writable"]
