"""NodeControl: the interface to the host of a server, which SQL does not reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable


@runtime_checkable
class NodeControl(Protocol):
    """An object that stops and starts one server, and reaches its files and programs.

    The methods block until they are done; AsyncCluster calls them in a thread. A failure raises
    ControlFailed. LocalControl and CommandControl implement it; so may a class of your own.
    """

    @property
    def data_directory(self) -> str:
        """Path of the data directory on the server's host."""
        ...

    def is_running(self) -> bool:
        """Return whether the server is running."""
        ...

    def start(self) -> None:
        """Start the server and wait until it accepts connections, unless it is running."""
        ...

    def stop(self) -> None:
        """Shut the server down in fast mode and wait for its end, if it is running."""
        ...

    def restart(self) -> None:
        """Stop the server if it is running, then start it."""
        ...

    def promote(self) -> None:
        """Ask a standby to promote itself, without waiting for the promotion."""
        ...

    def read_file(self, name: str) -> bytes | None:
        """Return a file's content by its path in the data directory; None if it does not exist."""
        ...

    def write_file(self, name: str, content: bytes | None) -> None:
        """Replace a file atomically, readable by the server's account only; None removes it."""
        ...

    def list_folder(self, path: str) -> list[str] | None:
        """Return the names in a directory of the host; None if it does not exist."""
        ...

    def remove_folder(self, path: str, *, content_only: bool = False) -> None:
        """Remove a directory of the host with its content, or only the content.

        A directory that does not exist is not an error.
        """
        ...

    def unwritable(self, path: str, *, recursive: bool = True) -> list[str]:
        """Return the paths in a directory that the server's account cannot write.

        Symbolic links are followed, to include tablespaces. With ``recursive=False``, only the
        directory itself is examined.
        """
        ...

    def private_file(self, content: bytes) -> AbstractContextManager[str]:
        """Create a file that only the server's account can read, for the time of a block.

        The context manager returns its path.
        """
        ...

    def run(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        on_line: Callable[[str], None] | None = None,
        is_wanted: Callable[[], bool] | None = None,
    ) -> None:
        """Run one of the server's own programs, such as pg_rewind, under the server's account.

        ``on_line`` is called with each line of the output as it is printed. ``is_wanted`` is called
        several times per second. If it returns False, or either of them raises, the program is
        terminated.
        """
        ...
