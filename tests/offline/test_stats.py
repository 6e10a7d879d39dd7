"""Statistics and columns of recorded WAL."""

from __future__ import annotations

import struct
import sys
from collections import Counter
from collections.abc import Callable

import pytest
from htmlchecks import words_of
from hypothesis import given, strategies as st
from recordedwal import WITH_DUMPS, Recorded
from walpages import WalWriter

from pgreplkit.offline.counts import Counts
from pgreplkit.offline.reader import open_wal
from pgreplkit.offline.records import HEADER, Source, WalRecord
from pgreplkit.offline.stats import WalBy, WalStats, stats_of
from pgreplkit.offline.walk import RecordWalk


def sums_of(stats: WalStats) -> tuple[int, int, int]:
    return stats.records, stats.record_bytes, stats.fpi_bytes


@pytest.mark.parametrize("version", WITH_DUMPS)
def test_statistics_by_kind_are_the_sums_of_pg_waldump(
    unpacked: Callable[[int], Recorded], version: int
) -> None:
    recorded = unpacked(version)
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    images: Counter[str] = Counter()
    for line in (recorded.folder / "waldump.txt").read_text().split("\n")[:-1]:
        if not line.startswith("-"):
            manager, size, total, *_, kind = line.split()
            name = f"{manager}/{kind}"
            counts[name] += 1
            sizes[name] += int(size)
            images[name] += int(total) - int(size)
    stats = recorded.open().stats(by=WalBy.KIND)
    rows = {row.key: (row.records, row.record_bytes, row.fpi_bytes) for row in stats}
    assert rows == {name: (counts[name], sizes[name], images[name]) for name in counts}
    managers = recorded.open().stats(by=WalBy.RESOURCE_MANAGER)
    by_manager: Counter[str] = Counter()
    for name, count in counts.items():
        by_manager[name.partition("/")[0]] += count
    assert {row.key: row.records for row in managers} == by_manager


def test_all_statistics_have_the_same_totals(sampled: Recorded) -> None:
    wal = sampled.open()
    records = sampled.records
    length = sum(record.length for record in records)
    images = sum(
        block.image.size for record in records for block in record.blocks if block.image is not None
    )
    for by in WalBy:
        stats = wal.stats(by=by)
        assert sums_of(stats) == (len(records), length - images, images)
        assert sum(map(stats.share, stats)) == pytest.approx(1)
        sizes = [row.bytes for row in stats]
        assert sizes == sorted(sizes, reverse=True)


def test_statistics_by_transaction_and_second_find_what_they_group(sampled: Recorded) -> None:
    wal, xids = sampled.open(), sampled.xids
    by_xid = {row.key: row.records for row in wal.stats(by=WalBy.XID)}
    assert by_xid[xids["aborted"]] == 2
    assert None in by_xid  # records outside transactions
    seconds = [row.key for row in wal.stats(by=WalBy.SECOND) if row.key is not None]
    commits = {commit.time.replace(microsecond=0) for commit in wal.commits(include_aborts=True)}
    assert {*seconds} == commits
    databases = {row.key for row in wal.stats(by=WalBy.DATABASE)}
    assert {None, 0} < databases  # shared relations have database 0
    relation = wal.stats(by=WalBy.RELATION).rows[0].key
    assert str(relation).startswith("1663/")


def test_statistics_are_shown_as_text_html_and_records(sampled: Recorded) -> None:
    stats = sampled.open().stats()
    assert str(stats).split("\n")[1].startswith(str(stats.rows[0].key))
    assert len(str(stats).split("\n")) == len(stats) + 1
    assert f"rows ({len(stats)}) key" in words_of(stats._repr_html_())
    with pytest.raises(ValueError, match=r"by must be one of kind, .* got 'kinds'"):
        sampled.open().stats(by="kinds")  # type: ignore[arg-type]
    first = stats.to_records()[0]
    assert first["bytes"] == stats.rows[0].bytes
    assert stats.to_dict()["by"] == "kind"


def test_columns_are_the_numbers_of_the_records(
    sampled: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numpy")
    wal = sampled.open()
    columns, records = wal.columns(), sampled.records
    assert columns["lsn"].tolist() == [int(record.lsn) for record in records]
    assert columns["end_lsn"].tolist() == [int(record.end_lsn) for record in records]
    for name in ("length", "fpi_bytes", "xid", "manager", "info", "timeline"):
        assert columns[name].tolist() == [getattr(record, name) for record in records]
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ImportError, match=r"pip install 'pgreplkit\[columns\]'"):
        wal.columns()


def test_an_image_of_the_second_block_counts() -> None:
    first = b"\0\0\0\0" + struct.pack("<IIII", 1663, 0xFF, 16384, 7)
    second = b"\1\x90\0\0" + struct.pack("<HHBI", 2, 0, 1, 8)
    head = HEADER.pack(24 + len(first + second) + 2, 0, 0, 0x20, 10, 0)
    record = WalRecord(Source(None, 18, 1, 1 << 20, 8192), 40, head + first + second + b"ab")
    [row] = stats_of([record], WalBy.KIND).rows
    assert (row.key, row.record_bytes, row.fpi_bytes) == ("Heap/UPDATE", record.length - 2, 2)


@pytest.mark.parametrize("by", [WalBy.KIND, WalBy.RESOURCE_MANAGER])
def test_records_that_are_only_counted_have_the_same_sums(sampled: Recorded, by: WalBy) -> None:
    records = sampled.records
    for first, end in ((0, -1), (1, len(records) // 2), (len(records) // 3, -2)):
        wal = open_wal(sampled.folder, start=records[first].lsn, stop_at=records[end].lsn)
        assert wal.stats(by=by) == stats_of(records[first:end], by)
        assert wal.end_lsn == records[end - 1].end_lsn


def block(number: int, *, has_relation: bool, image: int, data: int) -> tuple[bytes, bytes]:
    """Return the headers of a block, and its image and data."""
    flags = (0x10 if image else 0) | (0 if has_relation else 0x80)
    head = struct.pack("<BBH", number, flags, data)
    head += struct.pack("<HHB", image, 0, 0) if image else b""
    head += struct.pack("<III", 1663, 5, 16384) if has_relation else b""
    return head + struct.pack("<I", number), bytes(image + data)


blocks = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0, 0, 0, 300]), st.integers(0, 40)), max_size=4
)


@given(
    st.lists(st.tuples(blocks, st.integers(0, 60)), min_size=1, max_size=300),
    st.integers(100, 30_000),
)
def test_any_blocks_and_pieces_have_the_sums_of_their_records(
    shapes: list[tuple[list[tuple[bool, int, int]], int]], piece: int
) -> None:
    writer = WalWriter(3 << 20)
    for number, (parts, size) in enumerate(shapes):
        made = [
            block(place, has_relation=has_relation or not place, image=image, data=data)
            for place, (has_relation, image, data) in enumerate(parts)
        ]
        main = bytes([255, size]) if size else b""
        heads, contents = b"".join(head for head, _ in made), b"".join(one for _, one in made)
        writer.add_body(10, number % 8 * 16, heads + main + contents + bytes(size))
    counts = Counts(18)

    def walked(counts: Counts | None) -> list[WalRecord]:
        source = Source(None, 18, 1, 1 << 20, 8192)
        walk = RecordWalk(3 << 20, source, newest_timeline=1, counts=counts)
        content, found = writer.padded(), []
        for at in range(0, len(content), piece):
            found += walk.take(content[at : at + piece])
        return found

    everything, left = walked(None), walked(counts)
    assert len(everything) == len(shapes)
    assert stats_of(left, WalBy.KIND, counts) == stats_of(everything, WalBy.KIND)
    assert left[-1] == everything[-1]
    assert sum(records for records, _ in counts.sums.values()) + len(left) == len(shapes)
