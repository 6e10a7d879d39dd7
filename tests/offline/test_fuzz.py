"""Damaged WAL: it ends or raises InvalidWal, whatever the bytes are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st
from recordedwal import Recorded
from walusing import use

from pgreplkit import LSN
from pgreplkit.offline.pages import file_header
from pgreplkit.offline.records import Source, WalRecord
from pgreplkit.offline.walk import RecordWalk

PART = 16 * 8192
Mutation = tuple[int, bytes]
mutations = st.lists(
    st.tuples(st.integers(0, PART - 1), st.binary(min_size=1, max_size=16)), min_size=1, max_size=12
)


def walked(content: bytes, lsn: int, major: int) -> list[WalRecord]:
    walk = RecordWalk(lsn, Source(None, major, 0, 1 << 20, 8192), newest_timeline=9)
    records = []
    for at in range(0, PART, 50_000):
        records += walk.take(content[at : at + 50_000])
    assert walk._size <= 2 * PART  # a record's claimed length allocates nothing
    return records


@pytest.fixture(scope="session")
def parts(unpacked: Callable[[int], Recorded]) -> dict[int, tuple[int, bytes]]:
    """The first pages of the WAL of some versions, with their position."""
    found = {}
    for major in (11, 15, 18):
        first = min(path for path in unpacked(major).folder.iterdir() if len(path.name) == 24)
        content = first.read_bytes()[:PART]
        found[major] = int(file_header(content).lsn), content
    return found


@given(st.sampled_from([11, 15, 18]), mutations)
def test_mutated_wal_ends_or_is_invalid(
    parts: dict[int, tuple[int, bytes]], major: int, changes: list[Mutation]
) -> None:
    lsn, content = parts[major]
    damaged = bytearray(content)
    for at, data in changes:
        damaged[at : at + len(data)] = data
    records = walked(bytes(damaged[:PART]), lsn, major)
    for record in records[-40:]:
        use(record)
    # Records before the first change are untouched.
    first = min(at for at, _ in changes)
    whole = [one for one in walked(content, lsn, major) if one.end_lsn < LSN(lsn + first)]
    assert records[: len(whole)] == whole
