"""Compressed files: recognized, read from any place on, damaged and refused."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from compressions import (
    CODECS,
    SKIPPED,
    Compress,
    brotli,
    lz4,
    lzma_alone,
    repetitive,
    zstd,
    zstd_stream,
)
from walpages import WalWriter, wal_of
from walsegments import MIB, name_of, read, three_segments, written

from pgreplkit import LSN
from pgreplkit.errors import HostFileError
from pgreplkit.offline.archive import ArchiveProblem
from pgreplkit.offline.archivescan import scan_archive
from pgreplkit.offline.compression import PIECE, read_pieces
from pgreplkit.offline.damage import InvalidWal
from pgreplkit.offline.reader import open_wal


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        *((".gz", gzip.compress), (".bz2", bz2.compress), ("", lzma.compress)),
        *(("", gzip.compress), (".lzma", lzma_alone), ("", lzma_alone)),
    ],
)
def test_compressed_files_are_recognized_by_their_content(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    writer = three_segments()
    for path in [*written(tmp_path, writer).iterdir()]:
        content = path.read_bytes()
        path.unlink()
        path.with_name(path.name + suffix).write_bytes(compress(content))
    assert read(open_wal(tmp_path)) == writer.lsns
    assert read(open_wal(tmp_path, start=LSN(writer.lsns[200]))) == writer.lsns[200:]


@pytest.mark.parametrize(
    ("suffix", "module"), [("lz4", "lz4.frame"), ("zst", "zstandard"), ("br", "brotli")]
)
def test_lz4_zstd_and_brotli_need_an_extra(
    tmp_path: Path, suffix: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = pytest.importorskip(module)
    writer = three_segments()
    compress = codec.ZstdCompressor().compress if suffix == "zst" else codec.compress
    for path in [*written(tmp_path, writer).iterdir()]:
        path.with_name(f"{path.name}.{suffix}").write_bytes(compress(path.read_bytes()))
        path.unlink()
    assert read(open_wal(tmp_path)) == writer.lsns
    assert read(open_wal(tmp_path, start=LSN(writer.lsns[200]))) == writer.lsns[200:]
    monkeypatch.setitem(sys.modules, module, None)
    extra = {"lz4": "lz4", "zst": "zstd", "br": "brotli"}[suffix]
    with pytest.raises(ImportError, match=rf"pip install 'pgreplkit\[{extra}\]'"):
        open_wal(tmp_path)


def test_a_brotli_file_that_is_cut_or_has_data_after_its_end_is_damaged(tmp_path: Path) -> None:
    compress: Callable[[bytes], bytes] = pytest.importorskip("brotli").compress
    path = tmp_path / f"{name_of(3)}.br"
    stored = compress(wal_of([90] * 9, WalWriter(3 * MIB)).padded())
    for damaged in (stored[:-1], stored + b"more"):
        path.write_bytes(damaged)
        with pytest.raises(InvalidWal, match="the compressed file is damaged"):
            list(read_pieces(path))
    path.write_bytes(stored[:-1])
    with pytest.raises(InvalidWal, match="it ends early"):
        read(open_wal(path, strict=True))


@pytest.mark.parametrize("name", ["00000002.history", name_of(4)])
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    written(tmp_path, wal_of([90], WalWriter(3 * MIB)))
    written(tmp_path, wal_of([90], WalWriter(5 * MIB)), timeline=2)
    os.mkfifo(tmp_path / name)
    with pytest.raises(HostFileError, match="it is not a regular file"):
        read(open_wal(tmp_path, timeline=None if name.endswith("history") else 1))
    with pytest.raises(HostFileError, match="it is not a regular file"):
        open_wal(tmp_path / name)


def test_a_history_that_decompresses_without_end_is_refused(tmp_path: Path) -> None:
    written(tmp_path, wal_of([90], WalWriter(3 * MIB)), timeline=2)
    (tmp_path / "00000002.history.gz").write_bytes(gzip.compress(bytes(3 * MIB)))
    with pytest.raises(InvalidWal, match="more than 1 MiB"):
        open_wal(tmp_path)


@pytest.mark.parametrize(
    ("magic", "module"),
    [
        (b"BZh9", "bz2"),
        (b"\xfd7zXZ\x00", "lzma"),
        (b"\x04\x22\x4d\x18", "lz4.frame"),
        (b"\x28\xb5\x2f\xfd", "zstandard"),
    ],
)
def test_damage_is_the_same_error_for_each_compression(
    tmp_path: Path, magic: bytes, module: str
) -> None:
    pytest.importorskip(module)
    (tmp_path / name_of(3)).write_bytes(magic + b"0" * 100)
    with pytest.raises(InvalidWal, match="the compressed file is damaged"):
        open_wal(tmp_path)


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "lz4", "zst", "lzma", "lzo"])
def test_a_file_that_is_not_in_the_format_of_its_suffix_may_be_encrypted(
    archive: Path, suffix: str
) -> None:
    path = archive / name_of(7, 2)
    path.rename(path.with_name(f"{path.name}.{suffix}"))
    assert scan_archive(archive).findings == ()  # plain WAL under a wrong name
    path.with_name(f"{path.name}.{suffix}").write_bytes(bytes(range(1, 100)))
    [finding] = scan_archive(archive).findings
    assert finding.problem is ArchiveProblem.UNREADABLE
    assert f"not in the format of .{suffix}, so it is encrypted or damaged" in finding.found


def test_reading_a_zstd_file_that_ends_early_is_not_a_short_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(zstd_stream(repetitive(300_000, 1))[:-1])
    with pytest.raises(InvalidWal, match="it ends early"):
        list(read_pieces(path))


BY_NAME: dict[str, Compress] = {
    ".br": brotli,
    ".lzma": lzma_alone,
    ".lz4": lambda content: SKIPPED + lz4(content),
    ".zst": lambda content: SKIPPED + zstd(content),
}


@pytest.mark.parametrize("codec", [*CODECS, *BY_NAME])
def test_a_file_is_read_from_any_place_on(tmp_path: Path, codec: str) -> None:
    compress = BY_NAME[codec] if codec in BY_NAME else CODECS[codec][1]
    content = repetitive(700_000, 1)
    path = tmp_path / f"file{codec if codec in BY_NAME else ''}"
    path.write_bytes(compress(content))
    for start in (0, 1, PIECE - 1, PIECE, 3 * PIECE + 5, len(content)):
        assert b"".join(read_pieces(path, start=start)) == content[start:]
