"""WalRecord: the parts of records that the tests write, and of recorded ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest
from pagewalks import SEGMENT, walk_of
from recordedwal import WITH_DUMPS, Recorded
from waldumps import lines_of
from walpages import WalWriter

from pgreplkit.offline.walk import WalEnd


def test_records_have_the_fields_that_were_written() -> None:
    writer = WalWriter(SEGMENT)
    first = writer.add(1, 0x80, b"commit", xid=7)
    writer.add(21, 0, bytes(70_000), parts=b"\xfd\x05\x00\xfc\x06\x00\x00\x00")
    one, two = walk_of(writer).take(bytes(writer.content))
    assert (int(one.lsn), one.xid, one.resource_manager, one.kind) == (
        first,
        7,
        "Transaction",
        "COMMIT",
    )
    assert (one.data, one.length, int(one.prev_lsn)) == (b"commit", 32, 0)
    assert (one.blocks, one.fpi_bytes, one.record_bytes, one.timeline) == ((), 0, 32, 1)
    assert (two.origin, two.top_xid, two.data) == (5, 6, bytes(70_000))
    assert (two.prev_lsn, int(two.end_lsn)) == (one.lsn, writer.position)
    assert one != two
    assert one == walk_of(writer).take(bytes(writer.content))[0]


def test_a_record_is_printed_in_one_line(sampled: Recorded) -> None:
    lines = {str(record).partition(": ")[2] for record in sampled.records}
    of = r"Heap/INSERT\+INIT of \d+, \d+ bytes, block 0 of 1663/\d+/\d+"
    assert any(re.fullmatch(of, line) for line in lines)
    assert any(re.search(r"block \d+ of [\d/]+ vm(, |$)", line) for line in lines)
    assert any(line.endswith(" (image)") for line in lines)


@pytest.mark.parametrize("version", WITH_DUMPS)
def test_every_record_is_what_pg_waldump_prints(
    unpacked: Callable[[int], Recorded], version: int
) -> None:
    recorded = unpacked(version)
    expected = (recorded.folder / "waldump.txt").read_text().split("\n")[:-1]
    assert [*lines_of(recorded.records)] == expected


def test_every_record_has_the_right_checksum_link_and_parts(recorded: Recorded) -> None:
    wal, previous = recorded.open(verify_crc=True), None
    kinds: Counter[str] = Counter()
    for record in wal:
        assert previous in (None, record.prev_lsn)
        previous = record.lsn
        parts = sum(len(block.data) for block in record.blocks) + len(record.data)
        assert 24 + parts <= record.record_bytes <= record.length
        kinds[record.kind] += 1
    assert wal.ended_by is WalEnd.END_OF_WAL
    assert wal.end_lsn is not None
    assert recorded.end <= wal.end_lsn < recorded.end + 200
    assert not [kind for kind in kinds if "UNKNOWN" in kind]
    assert len(kinds) > 45
