"""The journal of a plan, read from its file."""

from __future__ import annotations

from pathlib import Path

from pgreplkit.host.configfiles import translate_os_errors
from pgreplkit.plans.cluster.journal import Journal


def read_journal(path: Path) -> Journal:
    """Read a journal file.

    Raises: HostFileError; ValueError if it is not a journal.
    """
    with translate_os_errors(f"read the journal {str(path)!r}"):
        text = path.read_bytes()
    return journal_in(path, text)


def journal_in(path: Path, text: bytes) -> Journal:
    """Return the journal that a file has.

    Raises: ValueError if it is not a journal.
    """
    try:
        return Journal.from_json(text)
    except ValueError as error:
        raise ValueError(f"{error}: {str(path)!r}") from error
