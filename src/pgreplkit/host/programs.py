"""Run programs with a list of arguments, never through a shell."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import attrs

from pgreplkit.errors import ControlFailed
from pgreplkit.host.nodecontrol import NodeControl

_KEPT_LINES = 12
"""Lines of output for an error's text: enough for a message with its context."""
_ENDING = 5.0
"""Seconds for a program to end after SIGTERM: a server without clients needs less than one."""
_POLL = 0.2
"""Seconds between calls of ``is_wanted``: a cancelled clone ends quickly, at little cost."""


@attrs.frozen
class Run:
    """Exit status and output of a program."""

    returncode: int
    output: bytes
    errors: bytes = b""

    @property
    def text(self) -> str:
        """Last lines of the output, for an error's text."""
        printed = self.errors.strip() or self.output.strip()
        lines = printed.decode(errors="replace").splitlines()
        return "\n".join(lines[-_KEPT_LINES:]) or f"it ended with status {self.returncode}"


@attrs.frozen
class Programs:
    """A way to run programs: the directory, the account and the environment."""

    cwd: str | None = None
    account: tuple[int, int] | None = None
    """User and group id; None for the caller's."""
    environment: Mapping[str, str] | None = attrs.field(default=None, repr=False)

    def run(
        self, operation: str, arguments: Sequence[str], *, given: bytes = b"", timeout: float
    ) -> Run:
        """Run a program for at most ``timeout`` seconds, with ``given`` as its input.

        Raises: ControlFailed if it cannot be started, or does not end in time.
        """
        pipe = subprocess.PIPE
        with self._started(operation, arguments, stdin=pipe, stderr=pipe) as process:
            try:
                output, errors = process.communicate(given, timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise ControlFailed(operation, f"it did not end in {timeout:g} s") from None
            return Run(process.returncode, output, errors)

    def follow(
        self,
        operation: str,
        arguments: Sequence[str],
        on_line: Callable[[str], None] | None,
        is_wanted: Callable[[], bool] | None,
    ) -> Run:
        """Run a program without a time limit, and report each line of its output.

        It is terminated if ``is_wanted`` returns False, or if either callback raises.
        """
        kept: list[str] = []
        null, same = subprocess.DEVNULL, subprocess.STDOUT
        # If this process is killed, the program runs to its end (SIGPIPE stays ignored): a
        # pg_rewind that stops because it cannot print would damage the server, and a child of
        # pg_basebackup would receive WAL without end.
        with (
            self._started(
                operation, arguments, stdin=null, stderr=same, restore_signals=False
            ) as process,
            _terminated_on_error(process),
        ):
            for line in _lines(process):
                if is_wanted is not None and not is_wanted():
                    raise ControlFailed(operation, "it is no longer wanted, and was terminated")
                kept = [*kept[-_KEPT_LINES:], line] if line else kept
                if line and on_line:
                    on_line(line)
        return Run(process.returncode, "\n".join(kept).encode())

    def _started(
        self,
        operation: str,
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
                # A new session, because Ctrl-C in the terminal would also stop a started server.
                start_new_session=True,
                user=user,
                group=group,
                extra_groups=None if self.account is None else [],
            )
        except OSError as error:
            found = f"{arguments[0]}: {error.strerror or error}"
            if self.cwd is not None and not Path(self.cwd).exists():
                found = f"there is no folder {self.cwd}"
            raise ControlFailed(operation, found) from error


@contextlib.contextmanager
def _terminated_on_error(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Terminate the process and its children if the block raises."""
    try:
        yield
    except BaseException:
        _terminate(process)
        # After Ctrl-C, Popen itself would wait for a quarter of a second only.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_ENDING)
        raise


def _terminate(process: subprocess.Popen[bytes]) -> None:
    """Terminate the process group, to include the child of pg_basebackup that receives WAL."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yield the lines of the output, and an empty line whenever there is none for a while."""
    output = process.stdout
    if output is None:
        return
    rest = b""
    while True:
        if not select.select([output], [], [], _POLL)[0]:
            if process.poll() is not None:
                # It was killed alone: a child, which keeps the output open, would run without end.
                _terminate(process)
                return
            yield ""
            continue
        read = os.read(output.fileno(), 1 << 16)
        *lines, rest = re.split(rb"[\r\n]", rest + read)
        yield from (line.decode(errors="replace") for line in lines if line.strip())
        if not read:
            if rest.strip():
                yield rest.decode(errors="replace")
            return


def unwritable_command(path: str, *, recursive: bool) -> list[str]:
    """Return a command that prints the paths which its account cannot write.

    find asks the kernel, which knows access control lists, immutable files and read-only mounts.
    """
    depth = [] if recursive else ["-maxdepth", "0"]
    return ["find", "-L", path, *depth, "!", "-type", "l", "!", "-writable"]


def program_major(control: NodeControl, program: str) -> int:
    """Return the major version of one of a server's programs; 0 if it does not say.

    Raises: ControlFailed if the program cannot be run.
    """
    lines: list[str] = []
    control.run(program, ["--version"], on_line=lines.append)
    numbers = re.findall(r"\d+", " ".join(lines))
    return int(numbers[0]) if numbers else 0


def running_with(*arguments: str) -> list[int]:
    """Return the processes of this machine with one of the arguments; empty without /proc."""
    wanted = {*map(os.fsencode, arguments)}
    return [pid for pid, words in _processes() if not wanted.isdisjoint(words)]


def servers_in(*directories: str) -> list[int]:
    """Return the servers of this machine with one of the data directories; empty without /proc."""
    wanted = {*map(os.fsencode, directories)}
    return [
        pid
        for pid, (program, *words) in _processes()
        if Path(os.fsdecode(program)).name == "postgres"
        and any(option == b"-D" and path in wanted for option, path in pairwise(words))
    ]


def _processes() -> Iterator[tuple[int, list[bytes]]]:
    """Yield the processes of this machine, with the words of their command lines."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # It has ended.
            yield int(file.parent.name), file.read_bytes().split(b"\0")
