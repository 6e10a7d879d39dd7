"""The messages of BASE_BACKUP: tar archives and a manifest, in the framing of each version."""

import struct
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeAlias

import attrs

from pgreplkit.errors import InvalidBackupMessage
from pgreplkit.values.record import Record

_LETTERS_SINCE = 15
_ARCHIVE, _DATA, _PROGRESS, _MANIFEST = b"ndpm"
_BASE = "base.tar"


@attrs.frozen
class BackupArchive(Record):
    """The start of an archive, of the data directory or of a tablespace."""

    name: str
    """The name that pg_basebackup uses: base.tar or 16401.tar, with .gz if compressed."""
    oid: int | None
    """The OID of the tablespace; None for the data directory."""
    location: str | None
    """The path of the tablespace on the server; None for the data directory."""


@attrs.frozen
class BackupChunk(Record):
    """A piece of an archive."""

    archive: BackupArchive
    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")


@attrs.frozen
class ManifestChunk(Record):
    """A piece of the manifest, which follows all archives (13 on)."""

    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")


BackupItem: TypeAlias = BackupArchive | BackupChunk | ManifestChunk
"""The items of a backup stream."""


@attrs.frozen
class BackupTablespace:
    """A tablespace in the backup; ``oid`` is None for the data directory."""

    oid: int | None
    location: str | None
    size: int | None
    """The server's estimate in bytes."""

    @classmethod
    def from_record(cls, record: dict[str, str | None]) -> "BackupTablespace":
        """Return the tablespace of one row of the server's list."""
        oid, kilobytes = record["spcoid"], record["size"]
        return cls(
            None if oid is None else int(oid),
            record["spclocation"],
            # The server reports kB.
            None if kilobytes is None else int(kilobytes) << 10,
        )


class BackupSink(Protocol):
    """The receiver of a backup."""

    def begin(self, archive: BackupArchive) -> None:
        """Start an archive."""

    def write(self, data: memoryview) -> None:
        """Add data to the current archive."""

    def end(self) -> None:
        """Complete the current archive."""

    def manifest(self, data: memoryview) -> None:
        """Add data to the manifest."""


class BackupFraming:
    """Passes the messages of a base backup to a sink.

    Before 15 each archive is a COPY of its own, in the order of the list of tablespaces, followed
    by the manifest. From 15 on there is one COPY, and the first byte of a message is its kind.
    """

    def __init__(self, major: int, tablespaces: Sequence[BackupTablespace], sink: BackupSink):
        self.tablespaces: tuple[BackupTablespace, ...] = tuple(tablespaces)
        self.done: list[int] = [0] * len(self.tablespaces)
        """The bytes received of each tablespace; of compressed ones, the server's own count."""
        self._sink = sink
        self._has_letters = major >= _LETTERS_SINCE
        self._copies = 0
        self.is_within_copy: bool = False
        """Whether a COPY is in progress."""
        self._at: int | None = None
        """The index of the current archive; None before the first, and in the manifest."""
        self._is_compressed = False
        self._has_manifest = False
        """Whether the manifest has started."""
        self._manifest = bytearray()

    @property
    def manifest(self) -> bytes:
        """The received part of the manifest."""
        return bytes(self._manifest)

    @property
    def archives_left(self) -> int:
        """The number of COPYs, at least, that have not started."""
        return (1 if self._has_letters else len(self.tablespaces)) - self._copies

    def begin_copy(self) -> None:
        """Note that a COPY has started."""
        self.is_within_copy = True
        number, self._copies = self._copies, self._copies + 1
        # The last COPY, after those of the tablespaces, is the manifest.
        if not self._has_letters and number < len(self.tablespaces):
            oid = self.tablespaces[number].oid
            self._begin(number, _BASE if oid is None else f"{oid}.tar")

    def end_copy(self) -> None:
        """Note that the COPY has ended."""
        self.is_within_copy = False
        self._end()

    def feed(self, messages: Iterable[memoryview]) -> None:
        """Process messages.

        Raises: InvalidBackupMessage.
        """
        # Decided once: a backup has millions of messages.
        take = self._take_lettered if self._has_letters else self._take
        for message in messages:
            take(message)

    def _take_lettered(self, message: memoryview) -> None:
        """Process a message whose first byte is its kind."""
        if not message:
            raise InvalidBackupMessage(b"", "it is empty")
        if message[0] != _DATA:
            self._turn(message)
            return
        # Content that no announcement belongs to would end up in the wrong file.
        if self._at is None and not self._has_manifest:
            raise InvalidBackupMessage(bytes(message[:32]), "no archive has started")
        self._take(message[1:])

    def _turn(self, message: memoryview) -> None:
        """Begin an archive or the manifest, or note the progress."""
        kind, content = message[0], bytes(message[1:])
        if kind == _ARCHIVE and not self._has_manifest:
            name, location, *_ = [*content.split(b"\0"), b"", b""]
            self._end()
            place = self._place(location.decode(errors="surrogateescape"))
            self._begin(place, name.decode(errors="surrogateescape"))
        elif kind == _MANIFEST:
            self._end()
            self._has_manifest = True
        # Uncompressed archives are counted here, which is exact at each moment.
        elif kind == _PROGRESS and len(content) == 8:
            if self._is_compressed and self._at is not None:
                # The server counts over all archives, before it compresses them.
                [whole] = struct.unpack(">q", content)
                self.done[self._at] = whole - sum(self.done[: self._at])
        else:
            raise InvalidBackupMessage(bytes(message[:32]), "unexpected kind of message")

    def _place(self, location: str) -> int:
        """Return the index of a tablespace in the server's list."""
        for number, tablespace in enumerate(self.tablespaces):
            if (tablespace.location or "") == location:
                return number
        raise InvalidBackupMessage(location, "the tablespace is not in the server's list")

    def _begin(self, number: int, name: str) -> None:
        self._at, self._is_compressed = number, not name.endswith(".tar")
        tablespace = self.tablespaces[number]
        self._sink.begin(BackupArchive(name, tablespace.oid, tablespace.location))

    def _end(self) -> None:
        if self._at is not None:
            self._at = None
            self._sink.end()

    def _take(self, data: memoryview) -> None:
        if self._at is None:
            self._manifest += data
            self._sink.manifest(data)
            return
        if not self._is_compressed:
            self.done[self._at] += len(data)
        self._sink.write(data)
