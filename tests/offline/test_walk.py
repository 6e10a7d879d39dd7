"""RecordWalk: records in WAL that the tests write, in pieces, damaged and cut off."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from pagewalks import PAGES, SEGMENT, SIZES, walk_of
from walpages import SWITCH, SYSTEM_ID, WalWriter, page_header, sealed, wal_of

from pgreplkit.offline.records import WalRecord
from pgreplkit.offline.walk import RecordWalk, WalEnd


def positions(records: list[WalRecord]) -> list[int]:
    return [int(record.lsn) for record in records]


def in_pieces(walk: RecordWalk, content: bytes, cuts: list[int]) -> list[WalRecord]:
    records, begin = [], 0
    for end in [*sorted(cut % (len(content) + 1) for cut in cuts), len(content)]:
        records += walk.take(content[begin:end])
        begin = end
    return records


@given(SIZES, PAGES, st.lists(st.integers(0), max_size=8))
def test_any_pieces_give_the_same_records(sizes: list[int], page: int, cuts: list[int]) -> None:
    writer = wal_of(sizes, WalWriter(SEGMENT, segment_size=8 * page, block_size=page))
    walk = walk_of(writer)
    assert positions(in_pieces(walk, bytes(writer.content), cuts)) == writer.lsns
    assert walk.stop is None
    assert walk.pending is None
    assert walk.position == writer.position


@given(SIZES, PAGES, st.integers(0))
def test_a_prefix_of_the_wal_holds_the_records_that_end_in_it(
    sizes: list[int], page: int, cut: int
) -> None:
    writer = wal_of(sizes, WalWriter(SEGMENT, segment_size=8 * page, block_size=page))
    content = bytes(writer.content)[: cut % (len(writer.content) + 1)]
    whole = walk_of(writer).take(bytes(writer.content))
    walk = walk_of(writer)
    records = walk.take(content)
    end = SEGMENT + len(content)
    # A record's padding may be missing.
    assert [*records] == [record for record in whole if int(record.end_lsn) <= end + 7][
        : len(records)
    ]
    assert all(int(record.end_lsn) > end for record in whole[len(records) :])
    assert walk.stop is None


@given(SIZES, PAGES, st.integers(0, 30))
def test_reading_may_begin_at_any_page(sizes: list[int], page: int, number: int) -> None:
    writer = wal_of(sizes, WalWriter(SEGMENT, segment_size=8 * page, block_size=page))
    begin = min(number * page, (len(writer.content) - 1) // page * page)
    walk = walk_of(writer, at=SEGMENT + begin)
    records = walk.take(bytes(writer.content)[begin:])
    assert positions(records) == [lsn for lsn in writer.lsns if lsn >= SEGMENT + begin]


def test_reading_may_begin_at_a_record() -> None:
    writer = wal_of([100] * 300, WalWriter(SEGMENT))
    lsn = writer.lsns[111]
    records = walk_of(writer, at=lsn).take(bytes(writer.content)[lsn - SEGMENT :])
    assert positions(records) == writer.lsns[111:]


def test_zeros_after_the_last_record_are_the_end() -> None:
    writer = wal_of([50, 60], WalWriter(SEGMENT))
    walk = walk_of(writer)
    assert len(walk.take(writer.padded())) == 2
    assert walk.stop is not None
    assert (walk.stop.end, walk.stop.lsn) == (WalEnd.END_OF_WAL, writer.position)


def test_the_rest_of_a_switched_segment_is_skipped() -> None:
    writer = wal_of([50], WalWriter(SEGMENT))
    writer.add(*SWITCH)
    assert writer.position == 2 * SEGMENT
    writer.add(10, 0, b"next")
    walk = walk_of(writer)
    records = in_pieces(walk, bytes(writer.content), [9000, 500_000])
    assert [record.kind for record in records] == ["INSERT", "SWITCH", "INSERT"]
    assert int(records[-1].lsn) == 2 * SEGMENT + 40
    assert walk.stop is None


def test_a_record_that_the_server_gave_up_is_left_out() -> None:
    writer = WalWriter(SEGMENT)
    writer.fill_page(leave=40)
    given_up = writer.give_up(500)
    following = writer.add(0, 0xD0, bytes(16))
    walk = walk_of(writer)
    records = walk.take(bytes(writer.content))
    assert (records[-1].kind, int(records[-1].lsn)) == ("OVERWRITE_CONTRECORD", following)
    assert walk.overwritten == [given_up]
    assert walk.stop is None


def test_a_record_cut_off_by_an_empty_page_is_partial() -> None:
    writer = WalWriter(SEGMENT)
    writer.fill_page(leave=40)
    lsn = writer.add(10, 0, bytes(500))
    walk = walk_of(writer)
    walk.take(bytes(writer.content)[:8192] + bytes(8192))
    assert walk.stop is not None
    assert (walk.stop.end, walk.stop.lsn) == (WalEnd.PARTIAL_RECORD, lsn)


def test_a_page_with_an_older_address_is_recycled() -> None:
    writer = WalWriter(2 * SEGMENT)
    writer.fill_page(leave=0)
    walk = walk_of(writer)
    walk.take(bytes(writer.content) + page_header(SEGMENT + 8192) + bytes(100))
    assert walk.stop is not None
    assert walk.stop.end is WalEnd.RECYCLED
    assert "holds the WAL of 0/102000" in walk.stop.found


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (page_header(SEGMENT + 8192, major=17), "a page of version 17 follows pages of 18"),
        (
            page_header(SEGMENT + 8192, timeline=10),
            "a page of timeline 10 is in a file of timeline 9",
        ),
        (page_header(SEGMENT + 8192, timeline=2), "a page of timeline 2 follows one of 3"),
        (page_header(SEGMENT + 8192, 77, timeline=3), "continues a record by 77 bytes"),
        (page_header(SEGMENT + 16384), "holds the WAL of 0/104000"),
        (b"\x21\xd1" + bytes(22), "newer than 18"),
        (b"\x93\xd0" + bytes(22), "older than 10"),
        (b"text" * 6, "magic number 6574 is that of no server"),
    ],
)
def test_a_page_that_does_not_belong_there_is_damage(header: bytes, found: str) -> None:
    writer = WalWriter(SEGMENT, timeline=3)
    writer.fill_page(leave=0)
    walk = walk_of(writer)
    walk.take(bytes(writer.content) + header + sealed(10, 0, b"") + bytes(100))
    assert walk.stop is not None
    assert walk.stop.end is WalEnd.DAMAGE
    assert found in walk.stop.found


def test_a_page_of_another_system_is_damage() -> None:
    writer = WalWriter(SEGMENT)
    walk = walk_of(writer)
    walk.system_id = 5
    writer.add(10, 0, b"x")
    walk.take(bytes(writer.content))
    assert walk.stop is not None
    assert f"of system {SYSTEM_ID}, and the others of 5" in walk.stop.found


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (sealed(10, 0, b"\xff\x00", previous=77), "names 0/4D as the previous record, but"),
        (b"\x05" + bytes(30), "length is 5 bytes"),
        (sealed(30, 0, b""), "no version 18 has a resource manager 30"),
        (sealed(10, 0, b"\xff\x01a")[:-1] + b"b", "CRC is"),
        (b"\xff\xff\xff\xff" + bytes(20), "its length is 4294967295 bytes"),
    ],
)
def test_bytes_that_are_not_a_record_are_damage(record: bytes, found: str) -> None:
    writer = wal_of([50], WalWriter(SEGMENT))
    good = int.from_bytes(record[8:16], "little") or writer.previous
    record = record[:8] + good.to_bytes(8, "little") + record[16:]
    if "CRC" not in found:
        walk = walk_of(writer)
        walk.checks_crc = False
    else:
        walk = walk_of(writer)
    assert len(walk.take(bytes(writer.content) + record + bytes(100))) == 1
    assert walk.stop is not None
    assert (walk.stop.end, walk.stop.lsn) == (WalEnd.DAMAGE, writer.position)
    assert found in walk.stop.found
    assert walk.take(bytes(100)) == []


@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 255), st.integers(0))
def test_damage_ends_the_walk_or_changes_nothing_before_it(
    noise: bytes, at: int, byte: int, cut: int
) -> None:
    writer = wal_of([40] * 500, WalWriter(SEGMENT, block_size=1024))
    content = bytearray(writer.content)
    place = cut % len(content)
    content[place : place + len(noise)] = noise
    content[at] = byte
    walk = walk_of(writer)
    records = walk.take(bytes(content))
    whole = [lsn for lsn in writer.lsns if lsn + 72 < SEGMENT + min(place, at)]
    assert positions(records)[: len(whole)] == whole or walk.stop is not None
    for record in records:
        assert record.is_crc_correct
