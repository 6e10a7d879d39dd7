"""Walks through WAL that the tests write, and the sizes of its records and pages."""

from __future__ import annotations

from hypothesis import strategies as st
from walpages import SYSTEM_ID, WalWriter

from pgreplkit.offline.records import Source
from pgreplkit.offline.walk import RecordWalk

PAGES = st.sampled_from([1024, 8192])
SIZES = st.lists(st.integers(0, 3000), min_size=1, max_size=40)
SEGMENT = 1 << 20


def walk_of(writer: WalWriter, *, at: int | None = None, newest: int = 9) -> RecordWalk:
    source = Source(None, writer.major, 0, writer.segment_size, writer.block_size)
    start = writer.start if at is None else at
    return RecordWalk(start, source, newest, system_id=SYSTEM_ID, checks_crc=True)
