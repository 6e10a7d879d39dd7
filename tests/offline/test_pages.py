"""The headers of pages, and the ends of records in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from pagewalks import PAGES, SEGMENT, SIZES, walk_of
from walpages import WalWriter
from walsegments import name_of

from pgreplkit.errors import InvalidWal
from pgreplkit.offline.reader import open_wal


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "fewer than its header"),
        (bytes(8192), "the page is empty"),
        (b"\x21\xd1" + bytes(50), "newer than 18"),
        (b"Salted__" + bytes(50), "encrypted; decrypt it first"),
        (b"\x85\x01" + bytes(50), "encrypted; decrypt it first"),
        (b"\x1f\x8b" + bytes(50), "the compressed file is damaged"),
    ],
)
def test_a_file_that_is_not_wal_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / name_of(3)).write_bytes(content)
    with pytest.raises(InvalidWal, match=found):
        open_wal(tmp_path)


@given(SIZES, PAGES)
def test_a_record_ends_where_the_server_says(sizes: list[int], page: int) -> None:
    writer = WalWriter(SEGMENT, segment_size=8 * page, block_size=page)
    ends = []
    for size in sizes:
        writer.add(10, 0, bytes(size))
        ends.append(writer.position)
    records = walk_of(writer).take(bytes(writer.content))
    assert [int(record.end_lsn) for record in records] == ends
