"""Running programs by their arguments, never through a shell."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence

import attrs

from pgreplkit.errors import ControlFailed

_KEPT_LINES = 12


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
        self, tried: str, arguments: Sequence[str], on_line: Callable[[str], None] | None
    ) -> Run:
        """Run it to its end, however long that takes, telling each line that it prints.

        It is ended when ``on_line`` raises.
        """
        lines: list[bytes] = []
        null, same = subprocess.DEVNULL, subprocess.STDOUT
        with self._started(tried, arguments, stdin=null, stderr=same) as process:
            try:
                for line in process.stdout or ():
                    lines = [*lines[-_KEPT_LINES:], line]
                    if on_line:
                        on_line(line.decode(errors="replace").rstrip())
            except BaseException:
                process.terminate()
                raise
        return Run(process.returncode, b"\n".join(lines))

    def _started(
        self, tried: str, arguments: Sequence[str], *, stdin: int, stderr: int
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
                # Out of reach of the terminal's Ctrl-C, which would stop a server with us.
                start_new_session=True,
                user=user,
                group=group,
                extra_groups=None if self.account is None else [],
            )
        except OSError as error:
            raise ControlFailed(tried, f"{arguments[0]}: {error.strerror or error}") from error
