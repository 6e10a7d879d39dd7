"""WAL of a large workload, compared with pg_waldump, with the server, and with its files."""

from __future__ import annotations

import subprocess
from collections import Counter

import pytest
from clusters import Clusters, one, run
from waldumps import lines_of, normalized
from walfiles import pg_wal
from walworkload import settings_for, write_workload

from pgreplkit import LSN, SegmentSize
from pgreplkit.lab import Node
from pgreplkit.offline.images import PAGE_SIZE
from pgreplkit.offline.reader import open_wal
from pgreplkit.offline.records import Fork, RelationFile, WalBlock, WalRecord
from pgreplkit.offline.walk import WalEnd

COMPRESSION = {
    10: ["off", "on"],
    14: ["on"],
    15: ["lz4", "pglz"],
    16: ["pglz"],
    17: ["zstd"],
    18: ["pglz"],
}
SIZES = {11: "1MB", 13: "64MB", 16: "4MB", 18: "2MB"}


@pytest.mark.matrix
def test_every_record_of_a_large_workload_is_what_pg_waldump_prints(
    clusters: Clusters, major: int
) -> None:
    size = SegmentSize.parse(SIZES.get(major, "16MB"))
    node = clusters.lab.primary(
        version=major,
        settings=settings_for(major),
        segment_size=size if major in SIZES else None,
    )
    for compression in COMPRESSION.get(major, ["off"]):
        write_workload(node, compression=compression, rows=1000)
    node.stop()
    folder = node.data_directory / "pg_wal"
    wal = open_wal(folder, verify_crc=True)
    records = [*wal]
    assert wal.ended_by in (WalEnd.END_OF_WAL, WalEnd.RECYCLED)
    assert not [record for record in records if "UNKNOWN" in record.kind]
    kinds = Counter(record.kind for record in records)
    assert kinds["CHECKPOINT_SHUTDOWN"] >= 1
    images_are_the_pages(node, records)
    if (node.installation.bindir / "pg_waldump").exists():
        assert [*lines_of(records)] == [*normalized(dumped(node, records, size))]


@pytest.mark.matrix
@pytest.mark.pg(">=11")
def test_a_record_that_a_crash_cut_off_is_told_apart_from_damage(
    clusters: Clusters, major: int
) -> None:
    size = SegmentSize.parse("1MB")
    kept = {"wal_keep_size": "64MB"} if major >= 13 else {"wal_keep_segments": "64"}
    node = clusters.lab.primary(version=major, settings=kept, segment_size=size)
    begin = LSN(str(one(node, "SELECT pg_current_wal_insert_lsn()::text")))
    # Longer than two segments: it ends in a third one, which the crash loses.
    run(node, "SELECT pg_logical_emit_message(true, 'long', repeat('wal', 900000))")
    lost = str(one(node, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"))
    node.stop("immediate")
    (pg_wal(node) / lost).unlink()
    node.start()
    run(node, "CREATE TABLE after_crash ()")
    run(node, "SELECT pg_switch_wal()")
    node.stop()
    wal = open_wal(pg_wal(node), start=begin, verify_crc=True)
    records = [*wal]
    [mark] = [record for record in records if record.kind == "OVERWRITE_CONTRECORD"]
    assert wal.overwritten == (LSN(int.from_bytes(mark.data[:8], "little")),)
    assert begin <= wal.overwritten[0] < mark.lsn
    assert wal.ended_by in (WalEnd.END_OF_WAL, WalEnd.RECYCLED)
    assert [record.kind for record in records][-1] == "CHECKPOINT_SHUTDOWN"
    assert len([*wal.commits()]) == 1


def dumped(node: Node, records: list[WalRecord], size: SegmentSize) -> list[str]:
    """Return the lines of pg_waldump for the files that hold the records."""
    ends = [records[number].lsn.wal_file(timeline=1, segment_size=size) for number in (0, -1)]
    program, folder = node.installation.bindir / "pg_waldump", node.data_directory / "pg_wal"
    command = [str(program), "-b", "-p", str(folder), *map(str, ends)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    return done.stdout.split("\n")


def images_are_the_pages(node: Node, records: list[WalRecord]) -> None:
    """Compare the images of index pages that did not change afterwards with the pages on disk."""
    last: dict[tuple[RelationFile, int], tuple[WalRecord, WalBlock]] = {}
    for record in records:
        for block in record.blocks:
            if block.fork == Fork.MAIN:
                last[block.relation, block.number] = record, block
    compared = 0
    for (relation, number), (record, block) in last.items():
        image, page = block.image, page_on_disk(node, relation, number)
        if record.resource_manager != "Btree" or image is None or page is None:
            continue
        lsn = int.from_bytes(page[:4], "little") << 32 | int.from_bytes(page[4:8], "little")
        if LSN(lsn) == record.end_lsn:
            hole = slice(image.hole_offset, image.hole_offset + image.hole_length)
            restored, expected = bytearray(image.restore()), bytearray(page)
            # The server sets the LSN and the checksum afterwards, and leaves the hole as it is.
            for content in (restored, expected):
                content[:10], content[hole] = bytes(10), bytes(image.hole_length)
            assert restored == expected
            compared += 1
    assert compared > 0


def page_on_disk(node: Node, relation: RelationFile, number: int) -> bytes | None:
    """Read a page of a relation; None if it does not exist."""
    folder = f"base/{relation.database}" if relation.database else "global"
    path = node.data_directory / folder / str(relation.number)
    if not path.exists() or path.stat().st_size < (number + 1) * PAGE_SIZE:
        return None
    with path.open("rb") as file:
        file.seek(number * PAGE_SIZE)
        return file.read(PAGE_SIZE)
