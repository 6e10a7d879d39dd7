"""PageImage: a full page image, and its restoration."""

from importlib import import_module
from types import ModuleType

import attrs

from pgreplkit.errors import ExtraMissing
from pgreplkit.errors.extras import needs_extra
from pgreplkit.offline.damage import InvalidWal
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record

PAGE_SIZE = 8192
"""The size of a data page, which the WAL does not record; packaged servers have no other."""

HAS_HOLE = 0x01
# 15 gave the bits new meanings when it added lz4 and zstd.
_OLD_COMPRESSED, _OLD_APPLIES = 0x02, 0x04
_APPLIES, _PGLZ, _LZ4, _ZSTD = 0x02, 0x04, 0x08, 0x10
_METHODS_SINCE = 15

_LONGEST_COPY = 18
"""The longest length in the four bits of a reference; a byte more follows then."""
_SHORTEST_COPY = 3


class PageCompression(OpenEnum):
    """The compression of a full page image: the setting wal_compression."""

    PGLZ = "pglz"
    LZ4 = "lz4"
    ZSTD = "zstd"


def compression_of(flags: int, major: int) -> PageCompression | None:
    """Return the compression that an image's flags name; None if it is not compressed."""
    if major < _METHODS_SINCE:
        return PageCompression.PGLZ if flags & _OLD_COMPRESSED else None
    methods = {_PGLZ: PageCompression.PGLZ, _LZ4: PageCompression.LZ4, _ZSTD: PageCompression.ZSTD}
    return methods.get(flags & (_PGLZ | _LZ4 | _ZSTD))


def applies(flags: int, major: int) -> bool:
    """Return True if replay writes the image, rather than only comparing with it."""
    return bool(flags & (_OLD_APPLIES if major < _METHODS_SINCE else _APPLIES))


@attrs.frozen
class PageImage(Record):
    """The full image of a page, usually from its first change after a checkpoint."""

    stored: bytes = attrs.field(repr=lambda stored: f"<{len(stored)} bytes>")
    """The bytes in the WAL: without the hole, and compressed if ``compression`` is set."""
    hole_offset: int
    """Start of the unused space in the page, which is left out."""
    hole_length: int
    compression: PageCompression | None
    applies: bool
    """True if replay writes the image; False if it only serves wal_consistency_checking."""

    @property
    def size(self) -> int:
        """Size in the WAL, in bytes."""
        return len(self.stored)

    def restore(self) -> bytes:
        """Return the page. Its LSN field is the one before the record was replayed.

        Images with lz4 or zstd need the extra of that name: ``pip install 'pgreplkit[lz4]'``.

        Raises: InvalidWal; ExtraMissing if the extra is missing.
        """
        size = PAGE_SIZE - self.hole_length
        rest = self.stored
        if self.compression is not None:
            rest = _decompressed(self.compression, rest, size)
        if len(rest) != size:
            raise InvalidWal(f"a page image has {len(rest)} bytes outside of its hole, not {size}")
        return rest[: self.hole_offset] + bytes(self.hole_length) + rest[self.hole_offset :]


def _decompressed(method: PageCompression, stored: bytes, size: int) -> bytes:
    if method is PageCompression.PGLZ:
        return decompress_pglz(stored, size)
    try:
        if method is PageCompression.LZ4:
            return bytes(codec("lz4.block", extra="lz4").decompress(stored, uncompressed_size=size))
        zstd = codec("zstandard", extra="zstd").ZstdDecompressor()
        return bytes(zstd.decompress(stored, max_output_size=size))
    except ExtraMissing:
        raise
    except Exception as error:  # each codec has errors of its own
        raise InvalidWal(f"a page image is not valid {method}: {error}") from None


def codec(module: str, *, extra: str) -> ModuleType:
    """Import the module of an extra.

    Raises: ExtraMissing.
    """
    with needs_extra(extra, module.partition(".")[0]):
        return import_module(module)


def decompress_pglz(stored: bytes, size: int) -> bytes:
    """Decompress the server's own format, which every version can write.

    A control byte announces eight items: bytes to copy, or references to earlier bytes.

    Raises: InvalidWal.
    """
    page, at = bytearray(), 0
    try:
        while len(page) < size:
            control, at = stored[at], at + 1
            for _ in range(8):
                if len(page) >= size:
                    break
                if not control & 1:
                    page.append(stored[at])
                    at += 1
                else:
                    length = (stored[at] & 0x0F) + _SHORTEST_COPY
                    back = (stored[at] & 0xF0) << 4 | stored[at + 1]
                    at += 2
                    if length == _LONGEST_COPY:
                        length, at = length + stored[at], at + 1
                    _repeat(page, back, min(length, size - len(page)))
                control >>= 1
    except IndexError:
        raise InvalidWal("a page image is not valid pglz: it is cut off") from None
    if at != len(stored):
        raise InvalidWal("a page image is not valid pglz: bytes are left over")
    return bytes(page)


def _repeat(page: bytearray, back: int, length: int) -> None:
    """Append bytes from ``back`` bytes before the end; the copy may overlap its own source."""
    if not 0 < back <= len(page):
        raise InvalidWal("a page image is not valid pglz: it refers to a place before its start")
    begin = len(page) - back
    pattern = bytes(page[begin : begin + length])
    while len(pattern) < length:
        pattern += pattern[: length - len(pattern)]
    page += pattern
