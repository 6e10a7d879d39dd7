"""Statistics of recorded WAL."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable

import pytest
from htmlchecks import words_of
from recordedwal import WITH_DUMPS, Recorded

from pgreplkit.offline.records import HEADER, Source, WalRecord
from pgreplkit.offline.stats import WalBy, WalStats, stats_of


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


def test_an_image_of_the_second_block_counts() -> None:
    first = b"\0\0\0\0" + struct.pack("<IIII", 1663, 0xFF, 16384, 7)
    second = b"\1\x90\0\0" + struct.pack("<HHBI", 2, 0, 1, 8)
    head = HEADER.pack(24 + len(first + second) + 2, 0, 0, 0x20, 10, 0)
    record = WalRecord(Source(None, 18, 1, 1 << 20, 8192), 40, head + first + second + b"ab")
    [row] = stats_of([record], WalBy.KIND).rows
    assert (row.key, row.record_bytes, row.fpi_bytes) == ("Heap/UPDATE", record.length - 2, 2)
