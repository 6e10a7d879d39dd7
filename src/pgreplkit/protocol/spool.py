"""Spool: messages buffered in memory, and in a temporary file beyond a limit."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from typing import IO
from weakref import finalize

from pgreplkit.values.lsn import LSN

_HEAD = struct.Struct(">I8s")
_OVERHEAD = 170
"""Python's own memory for a message: the tuple, the LSN and the headers of the objects."""


class Spool:
    """Messages with their positions, in the order in which they were added.

    Beyond ``memory_limit`` bytes they are written to a temporary file, deleted with the object.
    """

    def __init__(self, memory_limit: int) -> None:
        self._limit = memory_limit
        self._size = 0
        self._kept: list[tuple[LSN, bytes]] = []
        self._file: IO[bytes] | None = None

    def add(self, lsn: LSN, data: bytes) -> None:
        """Add a message."""
        self._kept.append((lsn, data))
        self._size += len(data) + _OVERHEAD
        if self._size > self._limit:
            self._write()

    def _write(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="pgreplkit-")  # noqa: SIM115
            finalize(self, self._file.close)
        self._file.writelines(
            part
            for lsn, data in self._kept
            for part in (_HEAD.pack(len(data), lsn.to_bytes()), data)
        )
        self._kept, self._size = [], 0

    def __iter__(self) -> Iterator[tuple[LSN, bytes]]:
        if self._file is not None:
            yield from self._read(self._file)
        yield from self._kept

    def _read(self, file: IO[bytes]) -> Iterator[tuple[LSN, bytes]]:
        file.flush()
        at, end = 0, file.seek(0, 2)
        while at < end:
            # There may be several iterators at once, each with its own position in the file.
            file.seek(at)
            size, position = _HEAD.unpack(file.read(_HEAD.size))
            data = file.read(size)
            at += _HEAD.size + size
            yield LSN.from_bytes(position), data
        file.seek(0, 2)
