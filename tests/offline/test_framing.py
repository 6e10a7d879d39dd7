"""The frames of compressed files, compared with the output of the codecs."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from pgreplkit.offline.compression import PIECE, content_size, read_pieces
from pgreplkit.offline.damage import InvalidWal
from pgreplkit.offline.framing import FileForm

zstandard = pytest.importorskip("zstandard")
lz4 = pytest.importorskip("lz4.frame")

Compress = Callable[[bytes], bytes]


def zstd_stream(content: bytes) -> bytes:
    """As from a pipe: the frame does not state the size of its content."""
    stream = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    return bytes(stream.compress(content) + stream.flush())


def lz4_checked(content: bytes) -> bytes:
    return bytes(
        lz4.compress(
            content, content_checksum=True, block_checksum=True, store_size=False, block_size=4
        )
    )


SKIPPED = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
CODECS: dict[str, tuple[FileForm, Compress, bool]] = {
    "gzip": (FileForm.GZIP, gzip.compress, True),
    "bzip2": (FileForm.BZIP2, bz2.compress, False),
    "xz": (FileForm.XZ, lzma.compress, True),
    "zstd": (FileForm.ZSTD, zstandard.compress, True),
    "zstd from a pipe": (FileForm.ZSTD, zstd_stream, False),
    "zstd with a skipped frame": (FileForm.ZSTD, lambda c: SKIPPED + zstandard.compress(c), True),
    "lz4": (FileForm.LZ4, lz4.compress, True),
    "lz4 with checksums": (FileForm.LZ4, lz4_checked, False),
}
"""The form, the function, and whether its files state the size of their content."""


def repetitive(size: int, seed: int) -> bytes:
    """Content that has blocks of all kinds: random, repeated and empty ones."""
    chance = random.Random(seed)
    return (chance.randbytes(size // 3) + bytes(size // 3) + chance.randbytes(size))[:size]


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=15)
@given(size=st.sampled_from([1, 7, 255, 256, 300, 65_600, 300_000]), seed=st.integers(0, 3))
def test_a_whole_file_has_the_size_that_it_tells(
    tmp_path_factory: pytest.TempPathFactory, codec: str, size: int, seed: int
) -> None:
    form, compress, tells_size = CODECS[codec]
    path = tmp_path_factory.mktemp("whole") / "file"
    path.write_bytes(compress(repetitive(size, seed)))
    assert content_size(path, form) == (size if tells_size else None)


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "gzip"])
@settings(max_examples=30)
@given(data=st.data(), size=st.sampled_from([1, 300, 65_600]))
def test_a_file_that_ends_early_is_damaged(
    tmp_path_factory: pytest.TempPathFactory, codec: str, data: st.DataObject, size: int
) -> None:
    form, compress, _ = CODECS[codec]
    path = tmp_path_factory.mktemp("cut") / "file"
    stored = compress(repetitive(size, 1))
    # The first frame that is skipped is a file by itself.
    first = len(SKIPPED) + 1 if "skipped" in codec else 1
    path.write_bytes(stored[: data.draw(st.integers(first, len(stored) - 1))])
    with pytest.raises(InvalidWal, match="is damaged: it"):
        content_size(path, form)


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "gzip"])
def test_a_file_that_goes_on_after_its_end_is_damaged(tmp_path: Path, codec: str) -> None:
    form, compress, _ = CODECS[codec]
    path = tmp_path / "file"
    path.write_bytes(compress(bytes(300)) + b"something else")
    with pytest.raises(InvalidWal, match="is damaged: it"):
        content_size(path, form)


def test_reading_a_zstd_file_that_ends_early_is_no_short_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(zstd_stream(repetitive(300_000, 1))[:-1])
    with pytest.raises(InvalidWal, match="it ends early"):
        list(read_pieces(path))


def lzma_alone(content: bytes) -> bytes:
    return lzma.compress(content, format=lzma.FORMAT_ALONE)


def brotli(content: bytes) -> bytes:
    return bytes(pytest.importorskip("brotli").compress(content))


BY_NAME: dict[str, Compress] = {".br": brotli, ".lzma": lzma_alone}


# A file that begins with a skipped frame has no mark of its format.
@pytest.mark.parametrize(
    "codec", [*(codec for codec in CODECS if "skipped" not in codec), *BY_NAME]
)
def test_a_file_is_read_from_any_place_on(tmp_path: Path, codec: str) -> None:
    compress = BY_NAME[codec] if codec in BY_NAME else CODECS[codec][1]
    content = repetitive(700_000, 1)
    path = tmp_path / f"file{codec if codec in BY_NAME else ''}"
    path.write_bytes(compress(content))
    for start in (0, 1, PIECE - 1, PIECE, 3 * PIECE + 5, len(content)):
        assert b"".join(read_pieces(path, start=start)) == content[start:]
