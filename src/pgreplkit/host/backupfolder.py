"""Base backups on disk: as a data directory, as tar archives, and verified by the manifest."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from tarfile import TarInfo

from pgreplkit.errors import BackupDamaged, HostFileError, InvalidBackupMessage
from pgreplkit.host.checksums import Checksum, checksum
from pgreplkit.host.configfiles import sync_folder, translate_os_errors
from pgreplkit.plans.streams.backupstream import MANIFEST, FoundFile, differences, file_name
from pgreplkit.protocol.basebackup import BackupArchive
from pgreplkit.protocol.tarstream import TarStream
from pgreplkit.values.manifest import BackupManifest

_TABLESPACES = "pg_tblspc"
_AT_ONCE = 1 << 20
_NOT_LISTED = {"postgresql.auto.conf", "standby.signal", "recovery.signal"}
"""Files that tools add to a copy after the backup."""


class DataFolder:
    """Writes the files of the archives, with a checksum of each on the way."""

    def __init__(
        self,
        path: Path,
        *,
        operation: str,
        locations: Mapping[str, Path],
        mode: int,
        algorithm: str | None,
    ) -> None:
        self._operation = operation
        self._algorithm = checksum(algorithm) if algorithm else None
        self._locations = locations
        self._fresh = [FreshFolder(path, operation)]
        self._root = self._folder = path
        path.chmod(mode)
        self._prefix = ""
        self._links: set[str] = set()
        self._owner: tuple[int, int] | None = None
        if os.geteuid() == 0:
            # The server refuses to run as root, so it could not use files owned by root.
            above = path.parent.stat()
            self._owner = above.st_uid, above.st_gid
            os.chown(path, *self._owner)
        self._tar = TarStream(self)
        self._is_gzip, self._gzip = False, zlib.decompressobj(wbits=31)
        self._file, self._name, self._size = -1, "", 0
        self._checksum: Checksum | None = None
        self._manifest = bytearray()
        self.found: dict[str, FoundFile] = {}

    def begin(self, archive: BackupArchive) -> None:
        """Start an archive."""
        self._tar = TarStream(self)
        self._is_gzip, self._gzip = archive.name.endswith(".gz"), zlib.decompressobj(wbits=31)
        self._folder, self._prefix = self._root, ""
        if archive.oid is not None and archive.location is not None:
            self._prefix = f"{_TABLESPACES}/{archive.oid}/"
            self._folder = self._located(archive.location)
            # Tablespaces are removed as well if the backup fails.
            self._fresh.append(FreshFolder(self._folder, self._operation))
            self._own(self._folder)

    def _located(self, location: str) -> Path:
        """Return the target of a tablespace; one within the data directory stays there."""
        if location.startswith("/"):
            return self._locations.get(location, Path(location))
        return self._root / self._checked(location)

    def write(self, data: memoryview) -> None:
        """Add data to the current archive."""
        if not self._is_gzip:
            self._tar.feed(data)
            return
        try:
            # Pages of zeros expand a thousandfold, so the output is limited.
            while unpacked := self._gzip.decompress(data, _AT_ONCE):
                self._tar.feed(memoryview(unpacked))
                data = memoryview(self._gzip.unconsumed_tail)
            # A server sends one stream for each archive.
            if self._gzip.unused_data:
                raise InvalidBackupMessage(
                    self._gzip.unused_data[:32], "data after the end of the gzip stream"
                )
        except zlib.error as error:
            raise InvalidBackupMessage(bytes(data[:32]), f"invalid gzip stream: {error}") from None

    def end(self) -> None:
        """Complete the current archive."""
        if self._is_gzip and not self._gzip.eof:
            raise InvalidBackupMessage(b"", "the gzip stream is incomplete")
        self._tar.close()

    def manifest(self, data: memoryview) -> None:
        """Add data to the manifest."""
        self._manifest += data

    def member(self, info: TarInfo) -> None:
        """Start a file, directory or link."""
        name = self._checked(info.name)
        path = self._folder / name
        if info.isdir():
            path.mkdir(mode=0o700, exist_ok=True)
            path.chmod(info.mode & 0o7777)
            self._own(path)
        elif info.issym():
            # Servers archive links in pg_tblspc only.
            if self._prefix or PurePosixPath(name).parent != PurePosixPath(_TABLESPACES):
                raise InvalidBackupMessage(name, "a link that is not a tablespace")
            path.symlink_to(self._located(info.linkname))
            self._links.add(name)
            self._own(path)
        else:
            # A file that exists, or a link, would lead the data elsewhere.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o600)
            os.fchmod(self._file, info.mode & 0o7777)
            if self._owner is not None:
                os.fchown(self._file, *self._owner)
            self._name, self._size = self._prefix + name, info.size
            self._checksum = None if self._algorithm is None else self._algorithm()

    def _checked(self, name: str) -> str:
        """Return a path within the data directory that does not pass through a link.

        Raises: InvalidBackupMessage.
        """
        # The archive comes from the network: it must not write outside of the directory.
        parts = PurePosixPath(name).parts
        is_within = not name.startswith("/") and ".." not in parts and "\0" not in name
        through = "/".join(parts[:2])
        if not is_within or (through in self._links and len(parts) > 2 and not self._prefix):
            raise InvalidBackupMessage(name, "the path leaves the data directory")
        return "/".join(parts)

    def _own(self, path: Path) -> None:
        if self._owner is not None:
            os.chown(path, *self._owner, follow_symlinks=False)

    def content(self, data: memoryview) -> None:
        """Add data to the current file."""
        if self._checksum is not None:
            self._checksum.update(data)
        while data:
            data = data[os.write(self._file, data) :]

    def done(self) -> None:
        """Complete the current file."""
        self._close()
        digest = None if self._checksum is None else self._checksum.hexdigest()
        self.found[self._name] = FoundFile(self._size, digest)

    def check(self) -> None:
        """Compare all files with the manifest.

        Raises: BackupDamaged; InvalidBackupManifest.
        """
        if self._manifest:
            wrong = tuple(differences(BackupManifest.parse(bytes(self._manifest)), self.found))
            if wrong:
                raise BackupDamaged(self._operation, wrong)

    def finish(self) -> None:
        """Flush all files to disk."""
        if self._manifest:
            path = self._root / MANIFEST
            path.write_bytes(self._manifest)
            path.chmod(0o600)
            self._own(path)
        for fresh in self._fresh:
            sync_tree(fresh.path)
            sync_folder(fresh.path.parent)

    def give_up(self) -> None:
        """Remove all created files."""
        self._close()
        for fresh in self._fresh:
            fresh.remove()

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def sync_tree(root: Path) -> None:
    """Flush all files in a directory to disk."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink():
                sync_file(path)
        sync_folder(Path(folder))


def verify_backup(directory: str | os.PathLike[str]) -> BackupManifest:
    """Verify an extracted backup by its manifest, and return the manifest.

    Sizes and checksums of all files are compared, except for WAL and for files that tools add to a
    copy (postgresql.auto.conf, standby.signal, recovery.signal).

    Raises: BackupDamaged, which lists the differences; InvalidBackupManifest; HostFileError if
    there is no manifest, as before 13.  Source: the file backup_manifest.
    """
    root, operation = Path(directory), f"verify the backup in {directory}"
    with translate_os_errors(operation):
        manifest = BackupManifest.parse((root / MANIFEST).read_bytes())
        algorithms = {file_name(file.path): file.checksum_algorithm for file in manifest.files}
        found = {
            name: _found(path, algorithms.get(name)) for name, path in _files(root, root).items()
        }
    wrong = tuple(
        difference
        for difference in differences(manifest, found)
        if not difference.startswith(tuple(f"{name} " for name in _NOT_LISTED))
    )
    if wrong:
        raise BackupDamaged(operation, wrong)
    return manifest


def _files(root: Path, folder: Path) -> dict[str, Path]:
    """Return the files of a data directory and its tablespaces, by their names in the manifest."""
    files: dict[str, Path] = {}
    for path in folder.iterdir():
        # Links of tablespaces are followed: the manifest names their files, too.
        if path.is_dir():
            files |= _files(root, path)
        else:
            files[path.relative_to(root).as_posix()] = path
    return files


def _found(path: Path, algorithm: str | None) -> FoundFile:
    begin = checksum(algorithm) if algorithm else None
    if begin is None:
        return FoundFile(path.stat().st_size, None)
    computed = begin()
    with path.open("rb", buffering=0) as file:
        size = 0
        while data := file.read(_AT_ONCE):
            computed.update(memoryview(data))
            size += len(data)
    return FoundFile(size, computed.hexdigest())


_TERMINATED_SINCE = 15
_TERMINATOR = bytes(1024)
_PRIVATE = 0o700


class FreshFolder:
    """A directory that was missing or empty, so that its new content may be removed.

    Raises: HostFileError if the directory is not empty.
    """

    def __init__(self, path: Path, operation: str) -> None:
        self.path = path
        self._was_there = path.exists()
        if self._was_there and any(path.iterdir()):
            raise HostFileError(operation, f"{path} is not empty; it is unchanged")
        path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)

    def remove(self) -> None:
        """Remove all created files."""
        # A directory of the user's stays, with the permissions that it has.
        if not self._was_there:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        for entry in [*self.path.iterdir()]:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


class TarFolder:
    """Saves a backup as tar archives; the manifest is written last, after all else is flushed."""

    def __init__(self, folder: FreshFolder, major: int) -> None:
        self._folder = folder
        self._is_terminated = major >= _TERMINATED_SINCE
        self._file = -1
        self._manifest = bytearray()
        self._paths: list[Path] = []

    def begin(self, archive: BackupArchive) -> None:
        """Start an archive."""
        # Only the last part of a name that came from the network.
        path = self._folder.path / Path(archive.name).name
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self._paths.append(path)

    def write(self, data: memoryview) -> None:
        """Add data to the current archive."""
        while data:
            data = data[os.write(self._file, data) :]

    def end(self) -> None:
        """Complete the current archive."""
        # Before 15 the server leaves out the two blocks of zeros that end an archive.
        if not self._is_terminated:
            self.write(memoryview(_TERMINATOR))
        self._close()

    def manifest(self, data: memoryview) -> None:
        """Add data to the manifest."""
        self._manifest += data

    def finish(self) -> None:
        """Flush all files to disk."""
        for path in self._paths:
            sync_file(path)
        if self._manifest:
            path = self._folder.path / MANIFEST
            path.write_bytes(self._manifest)
            sync_file(path)
        sync_folder(self._folder.path)
        sync_folder(self._folder.path.parent)

    def give_up(self) -> None:
        """Remove all created files."""
        self._close()
        self._folder.remove()

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def sync_file(path: Path) -> None:
    """Flush a file to disk."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
