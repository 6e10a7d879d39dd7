"""Compressed files: recognized by their content, and read in pieces."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pgreplkit.errors import Error, HostFileError
from pgreplkit.offline.damage import InvalidWal, opaque
from pgreplkit.offline.framing import FileForm, StoredFile, content_size as size_of, is_skipped
from pgreplkit.offline.images import codec

PIECE = 1 << 18
"""Size of the pieces: small enough that reading needs little memory."""
_HEAD = 8
_COMPRESSED_HEAD = 1024
"""Enough compressed bytes for the first header."""
_GZIP_BITS = 31
_SMALL = 1 << 20
"""More than any history or backup file has."""

_MAGIC = (
    (b"\x1f\x8b", FileForm.GZIP),
    (b"BZh", FileForm.BZIP2),
    (b"\xfd7zXZ\x00", FileForm.XZ),
    (b"\x04\x22\x4d\x18", FileForm.LZ4),
    (b"\x28\xb5\x2f\xfd", FileForm.ZSTD),
    (b"\x5d\0\0", FileForm.LZMA),  # the usual parameters, and a dictionary of at least 64 kB
    (b"\x89LZO", FileForm.LZO),
    (b"Salted__", FileForm.ENCRYPTED),  # OpenSSL, which pgBackRest uses
    (b"-----BEG", FileForm.ENCRYPTED),  # GnuPG with armor
    (b"age-encr", FileForm.ENCRYPTED),
)
_GPG_TAGS = {0x84, 0x85, 0x8C, 0xC1, 0xC3}
"""First bytes of GnuPG's encrypted messages: a session key by public key or passphrase."""
_MARKED = {".gz", ".bz2", ".xz", ".lz4", ".zst", ".lzma", ".lzo"}
"""Suffixes of compressions whose files begin with a mark."""
_PAGE_MARK = (b"\xd0", b"\xd1")
"""The second byte of each page of WAL."""


def form_of(path: Path) -> FileForm:
    """Return the form of a file, by its first bytes; brotli has no mark but its suffix.

    Raises: HostFileError.
    """
    return _form(path, _first_bytes(path, _HEAD))


def _form(path: Path, head: bytes) -> FileForm:
    for magic, form in _MAGIC:
        if head.startswith(magic):
            return form
    # Both formats allow frames of something else, and pzstd writes one before each of its own.
    if is_skipped(int.from_bytes(head[:4], "little")):
        return FileForm.LZ4 if path.suffix == ".lz4" else FileForm.ZSTD
    if path.suffix == ".br":
        return FileForm.BROTLI
    if head[1:2] in _PAGE_MARK:
        return FileForm.PLAIN
    if head[:1] and head[0] in _GPG_TAGS:
        return FileForm.ENCRYPTED
    # WAL-G encrypts files with libsodium under the suffix of their compression, and without a mark.
    if head and path.suffix in _MARKED:
        return FileForm.UNKNOWN
    return FileForm.PLAIN


def _open(path: str, flags: int) -> int:
    """Open a file without waiting: a named pipe would block until something writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _first_bytes(path: Path, size: int) -> bytes:
    try:
        # Unbuffered: of thousands of files, only the first bytes are read.
        with open(path, "rb", buffering=0, opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise HostFileError(f"read {path}", "it is not a regular file")
            return file.read(size) or b""
    except OSError as error:
        raise _refusal(path, error) from error


def read_pieces(path: Path, *, start: int = 0) -> Iterator[bytes]:
    """Read a file from ``start`` on, decompressed, in pieces.

    Raises: HostFileError; InvalidWal if it is encrypted or its compression is damaged; ExtraMissing
    if an extra is missing.
    """
    form = form_of(path)
    if form is FileForm.ZSTD:
        content_size(path, form)  # The codec does not notice a file that ends early.
    return _pieces(path, form, start)


def _pieces(path: Path, form: FileForm, start: int = 0) -> Iterator[bytes]:
    try:
        if form is FileForm.BROTLI:
            yield from _brotli(path, start)
            return
        with _opened(path, form) as file:
            file.seek(start)
            while piece := file.read(PIECE):
                yield piece
    except (Error, MemoryError):
        raise
    except Exception as error:  # each codec has errors of its own
        # Those of the system have a number; bzip2 and gzip raise an OSError without one.
        if isinstance(error, OSError) and error.errno is not None:
            raise _refusal(path, error) from error
        raise _damaged(path, error) from error


def read_most(path: Path, size: int) -> Iterator[bytes]:
    """Read a file of which ``size`` bytes are expected, in pieces; of more content, only a part.

    A small file can stand for terabytes.

    Raises: as read_pieces.
    """
    for piece in read_pieces(path):
        yield piece
        size -= len(piece)
        if size < 0:
            return


def read_small(path: Path) -> bytes:
    """Read a text file, such as a timeline history, and decompress it.

    Raises: as read_pieces; InvalidWal if it has more than a mebibyte.
    """
    content = b"".join(read_most(path, _SMALL))
    if len(content) > _SMALL:
        raise InvalidWal("the file has more than 1 MiB of text", path=str(path))
    return content


def read_head(path: Path, size: int) -> tuple[FileForm, bytes]:
    """Return a file's form and its first bytes, decompressed; fewer if it is shorter.

    Raises: as read_pieces.
    """
    head = _first_bytes(path, _COMPRESSED_HEAD)
    form = _form(path, head)
    if form is FileForm.PLAIN:
        return form, head[:size]
    if form is FileForm.GZIP:
        try:
            return form, zlib.decompressobj(_GZIP_BITS).decompress(head, size)
        except zlib.error as error:
            raise _damaged(path, error) from error
    # Without a look at the end: the check of the size follows.
    return form, next(_pieces(path, form), b"")[:size]


def content_size(path: Path, form: FileForm) -> int | None:
    """Return the size of a file's content; None if it must be decompressed for this.

    Raises: HostFileError; InvalidWal if its compression ends early or late.
    """
    try:
        with open(path, "rb", buffering=0, opener=_open) as file:
            return size_of(StoredFile(file.fileno(), os.fstat(file.fileno()).st_size), form)
    except OSError as error:
        raise _refusal(path, error) from error


def _opened(path: Path, form: FileForm) -> IO[bytes]:
    if form is FileForm.GZIP:
        return gzip.open(path)  # type: ignore[return-value]
    if form is FileForm.BZIP2:
        return bz2.open(path)
    if form in (FileForm.XZ, FileForm.LZMA):
        return lzma.open(path)
    if form is FileForm.LZ4:
        file: IO[bytes] = codec("lz4.frame", extra="lz4").open(path)
        return file
    if form is FileForm.ZSTD:
        stream: IO[bytes] = codec("zstandard", extra="zstd").open(path)
        return stream
    if form is FileForm.ENCRYPTED:
        raise opaque(str(path), "the file is encrypted", "decrypt it first")
    if form is FileForm.UNKNOWN:
        found = f"the file is not in the format of {path.suffix}, so it is encrypted or damaged"
        raise opaque(str(path), found, "decrypt it first")
    if form is FileForm.LZO:
        raise opaque(str(path), "the file is compressed with lzo", "decompress it first")
    return path.open("rb")


def _brotli(path: Path, start: int) -> Iterator[bytes]:
    """Decompress a file of brotli, whose module has no file objects."""
    decoder = codec("brotli", extra="brotli").Decompressor()
    with path.open("rb") as file:
        while not decoder.is_finished():
            stored = file.read(PIECE) if decoder.can_accept_more_data() else b""
            # A few bytes can stand for gigabytes of zeros.
            piece: bytes = decoder.process(stored, output_buffer_limit=PIECE)
            if not stored and not piece:
                raise _damaged(path, "it ends early")
            if len(piece) > start:
                yield piece[start:]
            start = max(0, start - len(piece))
        if file.read(1):
            raise _damaged(path, "data follows its end")


def _refusal(path: Path, error: OSError) -> HostFileError:
    return HostFileError(f"read {path}", error.strerror or str(error))


def _damaged(path: Path, error: Exception | str) -> InvalidWal:
    return InvalidWal(f"the compressed file is damaged: {error}", path=str(path))
