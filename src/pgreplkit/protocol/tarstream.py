"""TarStream: splits a tar archive that arrives in pieces into its members."""

from __future__ import annotations

from tarfile import DIRTYPE, REGTYPE, SYMTYPE, HeaderError, TarInfo
from typing import Protocol

from pgreplkit.errors import InvalidBackupMessage

_BLOCK = 512
_NOTHING = bytes(_BLOCK)
_TYPES = {REGTYPE, DIRTYPE, SYMTYPE}


class TarSink(Protocol):
    """The receiver of the members."""

    def member(self, info: TarInfo) -> None:
        """Start a file, directory or symbolic link."""

    def content(self, data: memoryview) -> None:
        """Add data to the current file."""

    def done(self) -> None:
        """Complete the current file."""


class TarStream:
    """Reads the tar format of servers: plain ustar headers without extensions."""

    def __init__(self, sink: TarSink) -> None:
        self._sink = sink
        self._header = bytearray()
        self._left = self._padding = 0

    def feed(self, data: memoryview) -> None:
        """Process the next piece.

        Raises: InvalidBackupMessage.
        """
        while data:
            if self._left:
                part = data[: self._left]
                self._left -= len(part)
                self._sink.content(part)
                if not self._left:
                    self._sink.done()
            elif self._padding:
                part = data[: self._padding]
                self._padding -= len(part)
            else:
                part = data[: _BLOCK - len(self._header)]
                self._header += part
                if len(self._header) == _BLOCK:
                    self._begin(bytes(self._header))
                    self._header.clear()
            data = data[len(part) :]

    def close(self) -> None:
        """Check that the archive is complete.

        Raises: InvalidBackupMessage in the middle of a member.
        """
        if self._left or self._header:
            raise InvalidBackupMessage(b"", f"the archive ends {self._left} bytes too early")

    def _begin(self, block: bytes) -> None:
        # Blocks of zeros end an archive; before 15 the server leaves them out.
        if block == _NOTHING:
            return
        try:
            info = TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except HeaderError as error:
            raise InvalidBackupMessage(block, f"invalid header of a tar archive: {error}") from None
        # Servers write no hard links and no devices: extracting one could harm this machine.
        if info.type not in _TYPES or (info.size and not info.isreg()):
            raise InvalidBackupMessage(info.name, f"it is a member of type {info.type!r}")
        if info.size < 0:
            raise InvalidBackupMessage(info.name, f"its size is {info.size}")
        # Content is padded to whole blocks.
        self._left, self._padding = info.size, -info.size % _BLOCK
        self._sink.member(info)
        if info.isreg() and not info.size:
            self._sink.done()
