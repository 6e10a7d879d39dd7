"""The frames of compressed files: whether a file is complete, and the size of its content.

A copy that was interrupted leaves a file that begins well. The lengths and marks within the formats
show this without decompressing, which would take longer than all other checks of an archive.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import attrs

from pgreplkit.offline.damage import InvalidWal
from pgreplkit.values.openenum import OpenEnum


class FileForm(OpenEnum):
    """The form in which a file is stored."""

    PLAIN = "plain"
    GZIP = "gz"
    BZIP2 = "bz2"
    XZ = "xz"
    LZ4 = "lz4"
    ZSTD = "zst"
    BROTLI = "br"
    LZMA = "lzma"
    LZO = "lzo"
    ENCRYPTED = "encrypted"
    UNKNOWN = "unknown"
    """Not what the file's suffix announces."""


@attrs.frozen
class StoredFile:
    """An open file, of which few bytes are read."""

    descriptor: int
    size: int

    def take(self, at: int, size: int) -> bytes:
        found = os.pread(self.descriptor, size, at) if at >= 0 else b""
        if len(found) < size:
            raise _damage("it ends early")
        return found

    def number(self, at: int, size: int) -> int:
        return int.from_bytes(self.take(at, size), "little")


def content_size(file: StoredFile, form: FileForm) -> int | None:
    """Return the size of a file's content; None if only decompressing it shows the size.

    Raises: InvalidWal if the file ends early, or has something else behind its end; OSError.
    """
    if form is FileForm.PLAIN:
        return file.size
    if form is FileForm.GZIP:
        return file.number(file.size - 4, 4)  # modulo 2³²; a file that was cut ends with any bytes
    if form is FileForm.BZIP2:
        _check_bzip2(file)
        return None
    if form is FileForm.XZ:
        return _xz(file)
    if form is FileForm.ZSTD:
        return _sum_of_frames(file, _zstd)
    return _sum_of_frames(file, _lz4) if form is FileForm.LZ4 else None


def _damage(found: str) -> InvalidWal:
    return InvalidWal(f"the compressed file is damaged: {found}")


def _check_bzip2(file: StoredFile) -> None:
    # The end is marked by 48 bits, which begin at any bit of a byte, and a checksum of 32 bits.
    tail = int.from_bytes(file.take(file.size - 11, 11), "big")
    if not any(tail >> 32 + padding & (1 << 48) - 1 == 0x177245385090 for padding in range(8)):
        raise _damage("its end mark is missing")


def _xz(file: StoredFile) -> int | None:
    footer = file.take(file.size - 12, 12)
    if footer[10:] != b"YZ":
        raise _damage("its end mark is missing")
    length = 4 + 4 * int.from_bytes(footer[4:8], "little")
    index = iter(file.take(file.size - 12 - length, length)[1:])
    sizes = [_varint(index) for _ in range(2 * _varint(index))]
    blocks = sum(-(-stored // 4) * 4 for stored in sizes[::2])
    # The index describes the last one of several streams only.
    return sum(sizes[1::2]) if 12 + blocks + length + 12 == file.size else None


def _varint(content: Iterator[int]) -> int:
    number = shift = 0
    for byte in content:
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number
        shift += 7
    raise _damage("its index ends early")


Frame = tuple[int | None, int]
"""The size of a frame's content, if the frame states it, and the frame's end in the file."""


def _sum_of_frames(file: StoredFile, read: Callable[[StoredFile, int], Frame]) -> int | None:
    total: int | None = 0
    at = 0
    while at < file.size:
        content, at = read(file, at)
        total = None if content is None or total is None else total + content
    if at > file.size:
        raise _damage("it ends early")
    return total


def is_skipped(magic: int) -> bool:
    """Return True for a frame of something else, which both formats allow."""
    return magic & ~0xF == 0x184D2A50


def _zstd(file: StoredFile, at: int) -> Frame:
    magic = file.number(at, 4)
    if is_skipped(magic):
        return 0, at + 8 + file.number(at + 4, 4)
    if magic != 0xFD2FB528:
        raise _damage("data follows its end")
    flags = file.number(at + 4, 1)
    has_window = not flags & 0x20
    at += 5 + has_window + (0, 1, 2, 4)[flags & 3]
    width = (int(not has_window), 2, 4, 8)[flags >> 6]
    content = file.number(at, width) + (256 if width == 2 else 0) if width else None
    at += width
    is_last = False
    while not is_last:
        block = file.number(at, 3)
        is_last = bool(block & 1)
        is_repeated_byte = block >> 1 & 3 == 1
        at += 3 + (1 if is_repeated_byte else block >> 3)
    has_checksum = bool(flags & 4)
    return content, at + 4 * has_checksum


def _lz4(file: StoredFile, at: int) -> Frame:
    magic = file.number(at, 4)
    if is_skipped(magic):
        return 0, at + 8 + file.number(at + 4, 4)
    if magic != 0x184D2204:
        raise _damage("data follows its end")
    flags = file.number(at + 4, 1)
    has_size, has_dictionary = bool(flags & 8), bool(flags & 1)
    content = file.number(at + 6, 8) if has_size else None
    at += 7 + 8 * has_size + 4 * has_dictionary
    has_block_checksums = bool(flags & 16)
    while block := file.number(at, 4):
        is_stored = 0x8000_0000  # a bit of the size
        at += 4 + (block & ~is_stored) + 4 * has_block_checksums
    has_checksum = bool(flags & 4)
    return content, at + 4 + 4 * has_checksum
