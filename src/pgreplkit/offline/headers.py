"""Headers: the headers of all files in an archive, and the files that have none."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pgreplkit.errors import ExtraMissing, HostFileError
from pgreplkit.offline.compression import read_head
from pgreplkit.offline.damage import InvalidWal
from pgreplkit.offline.files import FoundFile
from pgreplkit.offline.framing import FileForm
from pgreplkit.offline.pages import LONG, WalFileHeader, file_header

_NO_MAGIC = b"\0\0"
"""The start of a file that was created, and not written to yet."""


class Headers:
    """The headers of files, by path."""

    def __init__(self, files: Iterable[FoundFile]) -> None:
        self.read: dict[Path, WalFileHeader] = {}
        self.forms: dict[Path, FileForm] = {}
        self.broken: dict[Path, str] = {}
        """The problem of each file that is damaged."""
        self.empty: set[Path] = set()
        """Those of them to which nothing was written."""
        self.unreadable: dict[Path, str] = {}
        """The reason why a file cannot be checked."""
        self.removed: set[Path] = set()
        """Files that were removed after they were listed, as servers and backup tools do."""
        for file in files:
            self._add(file.path)

    def _add(self, path: Path) -> None:
        try:
            form, head = read_head(path, LONG.size)
        except ExtraMissing as error:
            self.unreadable[path] = str(error)
            return
        except HostFileError as error:
            if not os.path.lexists(path):
                self.removed.add(path)
                return
            # A pipe or a broken link is never a segment, whatever its name. A file that is not
            # readable for this account may be intact.
            (self.unreadable if path.is_file() else self.broken)[path] = error.found
            return
        except InvalidWal as error:
            (self.unreadable if error.is_opaque else self.broken)[path] = error.found
            return
        self.forms[path] = form
        try:
            self.read[path] = file_header(head)
        except InvalidWal as error:
            self.broken[path] = error.found
            if len(head) == LONG.size and head.startswith(_NO_MAGIC):
                self.empty.add(path)

    def reference(self) -> WalFileHeader | None:
        """Return a header of the system that wrote most of the files; None without headers."""
        # A few foreign files are findings; the archive is that of the majority.
        systems = Counter(map(_system, self.read.values()))
        if not systems:
            return None
        [(system, _)] = systems.most_common(1)
        return next(header for header in self.read.values() if _system(header) == system)


def _system(header: WalFileHeader) -> tuple[object, ...]:
    """Return what all files of a system have in common; pg_resetwal changes its segment size."""
    return header.system_id, header.major, header.segment_size, header.block_size
