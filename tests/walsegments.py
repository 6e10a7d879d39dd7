"""Segments of 1 MiB that the tests write, by their number."""

from __future__ import annotations

from pathlib import Path

from walpages import WalWriter, wal_of

from pgreplkit import LSN, SegmentSize
from pgreplkit.offline.reader import WalReader

SIZE = SegmentSize.parse("1MB")
MIB = 1 << 20


def name_of(number: int, timeline: int = 1) -> str:
    return str(LSN(number * MIB).wal_file(timeline=timeline, segment_size=SIZE))


def written(folder: Path, writer: WalWriter, *, timeline: int = 1) -> Path:
    """Write the segments of a writer; return the folder."""
    content, first = writer.padded(), writer.start // MIB
    for number in range(len(content) // MIB):
        path = folder / name_of(first + number, timeline)
        path.write_bytes(content[number * MIB : (number + 1) * MIB])
    return folder


def three_segments(start: int = 3) -> WalWriter:
    """Records of all sizes that fill segments 3 to 5, one of them longer than a segment."""
    writer = wal_of([(n * 37) % 5000 for n in range(350)], WalWriter(start * MIB))
    writer.add(10, 0, bytes(MIB + 400_000), xid=99)
    return wal_of([100] * 50, writer)


def read(wal: WalReader) -> list[int]:
    return [int(record.lsn) for record in wal]
