"""Content in each compressed format, as the tests write it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from collections.abc import Callable

import pytest

from pgreplkit.offline.framing import FileForm

Compress = Callable[[bytes], bytes]


def zstd(content: bytes) -> bytes:
    return bytes(pytest.importorskip("zstandard").compress(content))


def lz4(content: bytes) -> bytes:
    return bytes(pytest.importorskip("lz4.frame").compress(content))


def zstd_stream(content: bytes) -> bytes:
    """As from a pipe: the frame does not state the size of its content."""
    stream = pytest.importorskip("zstandard").ZstdCompressor(write_checksum=True).compressobj()
    return bytes(stream.compress(content) + stream.flush())


def lz4_checked(content: bytes) -> bytes:
    return bytes(
        pytest.importorskip("lz4.frame").compress(
            content, content_checksum=True, block_checksum=True, store_size=False, block_size=4
        )
    )


SKIPPED = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
CODECS: dict[str, tuple[FileForm, Compress, bool]] = {
    "gzip": (FileForm.GZIP, gzip.compress, True),
    "bzip2": (FileForm.BZIP2, bz2.compress, False),
    "xz": (FileForm.XZ, lzma.compress, True),
    "zstd": (FileForm.ZSTD, zstd, True),
    "zstd from a pipe": (FileForm.ZSTD, zstd_stream, False),
    "zstd with a skipped frame": (FileForm.ZSTD, lambda c: SKIPPED + zstd(c), True),
    "lz4": (FileForm.LZ4, lz4, True),
    "lz4 with checksums": (FileForm.LZ4, lz4_checked, False),
}
"""The form, the function, and whether its files state the size of their content."""


def repetitive(size: int, seed: int) -> bytes:
    """Content that has blocks of all kinds: random, repeated and empty ones."""
    chance = random.Random(seed)
    return (chance.randbytes(size // 3) + bytes(size // 3) + chance.randbytes(size))[:size]


def lzma_alone(content: bytes) -> bytes:
    """The older format of lzma, which WAL-G writes."""
    return lzma.compress(content, format=lzma.FORMAT_ALONE)


def brotli(content: bytes) -> bytes:
    return bytes(pytest.importorskip("brotli").compress(content, quality=4))
