"""FoundFile: the files in a directory of WAL, by their names and sizes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from pgreplkit.errors import HostFileError
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.segment import SegmentSize

_COMPRESSION = "gz|bz2|xz|lz4|zst|br|lzma|lzo"
_NAME = re.compile(
    rf"""
    (?!0{{8}})  # Timelines count from 1.
    (?: (?P<history>[0-9A-F]{{8}})\.history
      | (?P<timeline>[0-9A-F]{{8}}) (?P<log>[0-9A-F]{{8}}) (?P<segment>[0-9A-F]{{8}})
        (?:-(?P<checksum>[0-9a-f]{{40}}))?
        (?: \.(?P<offset>[0-9A-F]{{8}})\.backup
          | (?:\.(?:{_COMPRESSION}))? (?P<partial>\.partial)
        )?
    )
    (?:\.(?:{_COMPRESSION}))?
    """,
    re.VERBOSE,
)
_HASHED = re.compile("[0-9A-F]{16}")
_TEMPORARY = re.compile(r".*(\.tmp|\.pgbackrest\.tmp|\.ready|\.done|\.deleted|~)|\.tmp.*|tmp.*")


class WalFileKind(OpenEnum):
    """The kind of a file among WAL files, by its name."""

    SEGMENT = "segment"
    PARTIAL = "partial"
    HISTORY = "history"
    BACKUP = "backup"
    TEMPORARY = "temporary"
    OTHER = "other"


@attrs.frozen
class FoundFile:
    """A file in a directory of WAL files, described by its name and size only."""

    path: Path
    kind: WalFileKind
    size: int
    """Size of the stored file in bytes."""
    timeline: int = 0
    log: int = 0
    segment: int = 0
    offset: int = 0
    """Where the backup starts, in the name of a backup history file."""
    checksum: str | None = None
    """The SHA-1 that pgBackRest adds to names."""

    def number(self, segment_size: SegmentSize) -> int | None:
        """Return the segment's number; None if no segment of this size has such a name."""
        if self.segment >= segment_size.per_log:
            return None
        return self.log * segment_size.per_log + self.segment


@contextmanager
def translate_os_errors(action: str) -> Iterator[None]:
    """Raise the errors of the operating system as HostFileError; ``action`` begins its text."""
    try:
        yield
    except OSError as error:
        raise HostFileError(action, error.strerror or str(error)) from error


def list_folder(folder: Path) -> list[FoundFile]:
    """List a directory of WAL files, and its directories that are named for 16 digits of them.

    Raises: HostFileError.
    """
    with translate_os_errors(f"list {folder}"):
        # By name, which is the order of the WAL, and of files of one name by their folder.
        return sorted(_listed(folder, is_top=True), key=lambda file: (file.path.name, file.path))


def _listed(folder: Path, *, is_top: bool) -> Iterator[FoundFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path, is_directory = Path(entry.path), _is_directory(entry)
            if is_directory and is_top and _HASHED.fullmatch(entry.name):
                # One level only: Barman and pgBackRest have no deeper ones, and other folders are
                # not theirs.
                yield from _listed(path, is_top=False)
            elif not is_directory and (size := _size(entry)) is not None:
                yield found_file(path, size)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        if entry.is_symlink():  # to itself
            return False
        raise


def _size(entry: os.DirEntry[str]) -> int | None:
    """Return the size of a file; None if it was just removed, as servers do in pg_wal."""
    try:
        return entry.stat().st_size
    except OSError:
        if entry.is_symlink():
            return 0  # The target is missing: reading the file reports it.
        if os.path.lexists(entry.path):
            raise
        return None


def found_file(path: Path, size: int) -> FoundFile:
    """Interpret the name of a file."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        is_temporary = _TEMPORARY.fullmatch(path.name)
        return FoundFile(path, WalFileKind.TEMPORARY if is_temporary else WalFileKind.OTHER, size)
    if match["history"]:
        return FoundFile(path, WalFileKind.HISTORY, size, int(match["history"], 16))
    kind = WalFileKind.SEGMENT
    if match["offset"]:
        kind = WalFileKind.BACKUP
    elif match["partial"]:
        kind = WalFileKind.PARTIAL
    return FoundFile(
        path,
        kind,
        size,
        int(match["timeline"], 16),
        int(match["log"], 16),
        int(match["segment"], 16),
        int(match["offset"] or "0", 16),
        match["checksum"],
    )
