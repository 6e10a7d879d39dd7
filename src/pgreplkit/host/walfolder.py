"""WalFolder: received WAL in the files of a directory, as pg_receivewal writes them."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from pgreplkit.errors import HostFileError, InvalidWalFileName
from pgreplkit.host.configfiles import replace_file, sync_folder, translate_os_errors
from pgreplkit.plans.streams.options import HistoryFile
from pgreplkit.protocol.walfeed import Piece, WalChunk, pieces
from pgreplkit.values.record import Record
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.walfile import WalFileName
from pgreplkit.values.walnames import (
    CompressedWalName,
    PartialWalFileName,
    TimelineHistoryFileName,
    WalName,
    parse_wal_name,
)

_ZEROS = bytes(1 << 20)
_SEGMENT = re.compile("[0-9A-Fa-f]{24}")


@attrs.frozen
class ReceivedSegment(Record):
    """A complete segment, flushed to disk."""

    name: WalFileName
    path: Path


class WalFolder:
    """The segments in a directory: complete ones, and the current one.

    The current segment is a file ``….partial`` of a segment's full size. It is renamed once it is
    complete and flushed, so that the next run can continue after a kill.
    """

    def __init__(self, folder: Path, segment_size: SegmentSize) -> None:
        self.folder = folder
        self._segment_size = segment_size
        self._name: WalFileName | None = None
        self._file = -1

    @property
    def _operation(self) -> str:
        return f"receive WAL into {self.folder}"

    def resume(self) -> WalFileName | None:
        """Return the segment to continue with; None if the directory has no segments.

        It is the one after the last complete segment, or the last one if it is partial.

        Raises: HostFileError for segments of another size.
        """
        with translate_os_errors(self._operation), os.scandir(self.folder) as entries:
            found = [place for entry in entries if (place := self._place(entry))]
        if not found:
            return None
        # A whole segment counts more than a partial one of the same number.
        number, timeline, is_whole = max(found)
        return WalFileName(timeline, number + is_whole, self._segment_size)

    def _place(self, entry: os.DirEntry[str]) -> tuple[int, int, bool] | None:
        """Return the number, the timeline and the completeness of a segment."""
        try:
            name: WalName = parse_wal_name(entry.name, segment_size=self._segment_size)
        except InvalidWalFileName as error:
            # Beginning elsewhere would leave a gap between this file and the new ones.
            if _SEGMENT.match(entry.name):
                raise HostFileError(self._operation, str(error), remedy="move it away") from error
            return None
        is_compressed = isinstance(name, CompressedWalName)
        if isinstance(name, CompressedWalName):
            name = name.name
        if isinstance(name, PartialWalFileName):
            self._check_size(entry, {0, self._segment_size.bytes} if not name.compression else None)
            return name.wal_file.number, name.wal_file.timeline, False
        if isinstance(name, WalFileName):
            self._check_size(entry, None if is_compressed else {self._segment_size.bytes})
            return name.number, name.timeline, True
        return None

    def _check_size(self, entry: os.DirEntry[str], sizes: set[int] | None) -> None:
        size = entry.stat().st_size
        if sizes is not None and size not in sizes:
            found = f"{entry.name} has {size} bytes, and the server's segments have"
            remedy = "move the file away, or choose another directory"
            found = f"{found} {self._segment_size.bytes}"
            raise HostFileError(self._operation, found, remedy=remedy)

    def write(self, chunks: Iterable[WalChunk]) -> list[ReceivedSegment]:
        """Write chunks; return the segments that they complete.

        Raises: HostFileError.
        """
        with translate_os_errors(self._operation):
            return [done for chunk in chunks for done in self._write_chunk(chunk)]

    def _write_chunk(self, chunk: WalChunk) -> Iterator[ReceivedSegment]:
        for piece in pieces(chunk, self._segment_size.bytes):
            name = WalFileName(chunk.timeline, piece.number, self._segment_size)
            self._write(name, piece)
            if piece.offset + len(piece.data) == self._segment_size.bytes:
                yield self._finish(name)

    def _write(self, name: WalFileName, piece: Piece) -> None:
        if name != self._name:
            self._leave()
            self._begin(name)
        data, offset = piece.data, piece.offset
        while data:
            # At its place: WAL that is received again after a restart replaces itself.
            count = os.pwrite(self._file, data, offset)
            data, offset = data[count:], offset + count

    def _begin(self, name: WalFileName) -> None:
        path, size = self.folder / f"{name}.partial", self._segment_size.bytes
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._name = name
        if os.fstat(self._file).st_size == size:
            return
        # Allocate the full size first, so that a killed run leaves a file of the right size.
        os.truncate(self._file, size)
        self._reserve()
        os.fsync(self._file)
        sync_folder(self.folder)

    def _reserve(self) -> None:
        """Allocate a segment's space, so that a full disk is reported before it is written."""
        size = self._segment_size.bytes
        try:
            os.posix_fallocate(self._file, 0, size)
        except (AttributeError, OSError):  # not available on every system and file system
            for offset in range(0, size, len(_ZEROS)):
                os.pwrite(self._file, _ZEROS, offset)

    def _finish(self, name: WalFileName) -> ReceivedSegment:
        self._leave()
        path = self.folder / str(name)
        # After the flush: a complete name means complete WAL, also after a crash.
        (self.folder / f"{name}.partial").rename(path)
        sync_folder(self.folder)
        return ReceivedSegment(name, path)

    def _leave(self) -> None:
        """Close a partial segment: the next is of another timeline, or this was the last."""
        if self._name is not None:
            try:
                os.fsync(self._file)
            finally:
                os.close(self._file)
                self._name = None

    def write_history(self, history: HistoryFile) -> None:
        """Write the history file of a timeline, unless it exists.

        Raises: HostFileError.
        """
        path = self.folder / str(TimelineHistoryFileName(history.timeline))
        with translate_os_errors(self._operation):
            if not path.exists():
                replace_file(path, history.content)
                sync_folder(self.folder)

    def sync(self) -> None:
        """Flush all files to disk.

        Raises: HostFileError.
        """
        with translate_os_errors(self._operation):
            if self._name is not None:
                os.fsync(self._file)

    def close(self) -> None:
        """Flush all files to disk, and close them."""
        with translate_os_errors(self._operation):
            self._leave()
