"""The journal of a plan, in its file."""

from __future__ import annotations

import stat
from pathlib import Path

from pgreplkit.host.configfiles import replace_file, translate_os_errors
from pgreplkit.plans.cluster.journal import Journal

_REMEDY = "pass the path of the operation's journal, in a file that this process may read"


def read_journal(path: Path, *, remedy: str = _REMEDY) -> Journal:
    """Read a journal file; ``remedy`` ends the text of the errors.

    Raises: HostFileError; ValueError if it is not a journal.
    """
    with translate_os_errors(f"read the journal {str(path)!r}", remedy=remedy):
        text = _content(path)
    return _journal_in(path, text, remedy)


def journal_at(path: Path | None, *, remedy: str) -> Journal | None:
    """Read a journal file; return None if it does not exist.

    Raises: HostFileError; ValueError if it is not a journal.
    """
    if path is None:
        return None
    with translate_os_errors(f"read the journal {str(path)!r}", remedy=remedy):
        try:
            text = _content(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
    return _journal_in(path, text, remedy)


def _content(path: Path) -> bytes:
    # The content of a device may never end, nor the wait for that of a pipe.
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is not a regular file")
    return path.read_bytes()


def _journal_in(path: Path, text: bytes, remedy: str) -> Journal:
    try:
        return Journal.from_json(text)
    except ValueError as error:
        raise ValueError(f"{error}: {str(path)!r}; {remedy}") from error


def write_journal(path: Path, journal: Journal) -> None:
    """Replace the content of a journal file.

    Raises: HostFileError.
    """
    remedy = "create its directory, make it writable or free some space there, or use another path"
    with translate_os_errors(f"write the journal {str(path)!r}", remedy=remedy):
        replace_file(path, journal.to_json().encode())
