"""NodeControl: what an operation needs of the host on which a server runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable


@runtime_checkable
class NodeControl(Protocol):
    """Stops and starts one server, and reaches its files and programs.

    The methods block until it is done; AsyncCluster calls them in a thread. Whatever fails raises
    ControlFailed. LocalControl and CommandControl are such; anything with these methods is.
    """

    @property
    def data_dir(self) -> str:
        """The server's data directory, as its host names it."""
        ...

    def is_running(self) -> bool:
        """Whether the server runs."""
        ...

    def start(self) -> None:
        """Start it and wait until it takes connections; nothing happens when it runs."""
        ...

    def stop(self) -> None:
        """Shut it down fast and wait until it is down; nothing happens when it is not running."""
        ...

    def restart(self) -> None:
        """Stop it if it runs, and start it."""
        ...

    def promote(self) -> None:
        """Ask a standby to become a primary, without waiting for it."""
        ...

    def read_file(self, name: str) -> bytes | None:
        """The content of a file, named from the data directory on; None when there is none."""
        ...

    def write_file(self, name: str, content: bytes | None) -> None:
        """Write a file at once or not at all, for the server's account only; None removes it."""
        ...

    def list_folder(self, path: str) -> list[str] | None:
        """The names in a folder of the host; None when there is none."""
        ...

    def remove_folder(self, path: str, *, content_only: bool = False) -> None:
        """Remove a folder of the host with all that is in it, or only what is in it.

        Nothing happens when it is not there.
        """
        ...

    def unwritable(self, path: str, *, below: bool = True) -> list[str]:
        """Return what the server's account cannot write of a folder, and of all below it.

        Links are followed, as to tablespaces. With ``below=False`` only the folder itself counts.
        """
        ...

    def private_file(self, content: bytes) -> AbstractContextManager[str]:
        """A file that only the server's account can read, gone after the block; gives its path."""
        ...

    def run(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        on_line: Callable[[str], None] | None = None,
        is_wanted: Callable[[], bool] | None = None,
    ) -> None:
        """Run one of the server's own programs, as pg_rewind, as the server's account.

        ``on_line`` gets each line that it prints, when it prints it. ``is_wanted`` is asked some
        times a second; when it says no, or one of them raises, the program is ended.
        """
        ...
