"""TarFolder: a base backup as the server's archives, in a directory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pgreplkit.errors import HostFileError
from pgreplkit.host.configfiles import sync_folder
from pgreplkit.plans.streams.backupstream import MANIFEST
from pgreplkit.protocol.basebackup import BackupArchive

_TERMINATED_SINCE = 15
_TERMINATOR = bytes(1024)
_PRIVATE = 0o700


class FreshFolder:
    """A directory that was missing or empty, so that what is in it can be removed again.

    Raises: HostFileError when it is neither.
    """

    def __init__(self, path: Path, tried: str) -> None:
        self.path = path
        self._was_there = path.exists()
        if self._was_there and any(path.iterdir()):
            raise HostFileError(tried, f"{path} is not empty, and was not touched")
        path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)

    def remove(self) -> None:
        """Remove what was made."""
        if not self._was_there:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        for entry in [*self.path.iterdir()]:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


class TarFolder:
    """Writes base.tar and its like; the manifest comes last, when all else is on the disk."""

    def __init__(self, folder: FreshFolder, major: int) -> None:
        self._folder = folder
        self._is_terminated = major >= _TERMINATED_SINCE
        self._file = -1
        self._manifest = bytearray()
        self._paths: list[Path] = []

    def begin(self, archive: BackupArchive) -> None:
        """An archive begins."""
        path = self._folder.path / Path(archive.name).name
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self._paths.append(path)

    def write(self, data: memoryview) -> None:
        """More of it."""
        while data:
            data = data[os.write(self._file, data) :]

    def end(self) -> None:
        """It is whole."""
        if not self._is_terminated:
            self.write(memoryview(_TERMINATOR))
        self._close()

    def manifest(self, data: memoryview) -> None:
        """More of the manifest."""
        self._manifest += data

    def finish(self) -> None:
        """See that all is on the disk."""
        for path in self._paths:
            sync_file(path)
        if self._manifest:
            path = self._folder.path / MANIFEST
            path.write_bytes(self._manifest)
            sync_file(path)
        sync_folder(self._folder.path)
        sync_folder(self._folder.path.parent)

    def give_up(self) -> None:
        """Remove what was made."""
        self._close()
        self._folder.remove()

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def sync_file(path: Path) -> None:
    """See that a file is on the disk."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
