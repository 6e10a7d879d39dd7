"""Rows that are read without loading their values: by a shape, or value by value."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, strategies as st

from pgreplkit.protocol.pgoutput.tuples import (
    BINARY,
    TEXT,
    UNSENT,
    Malformed,
    RawRows,
    raw_values,
)

FORMATS = {b"t": TEXT, b"b": BINARY, b"n": TEXT, b"u": UNSENT}
PREFIX = b"wI\0\0\0\1N"


def message(row: list[tuple[bytes, bytes]]) -> bytes:
    values = [
        kind + (struct.pack(">I", len(value)) + value if kind in (b"t", b"b") else b"")
        for kind, value in row
    ]
    return PREFIX + struct.pack(">H", len(row)) + b"".join(values)


# Few lengths, so that rows of one length have values of other lengths too.
cells = st.tuples(
    st.sampled_from([b"t", b"b", b"n", b"u"]), st.sampled_from([b"", b"a", b"bc", b"n\0\0\0\0"])
)


@given(st.lists(st.lists(cells, max_size=4), max_size=30))
def test_rows_are_read_in_the_same_way_whatever_rows_came_before(
    rows: list[list[tuple[bytes, bytes]]],
) -> None:
    reader = RawRows()
    for row in rows:
        data = message(row)
        values, formats = reader.last(data, len(PREFIX))
        assert values == [value if kind in (b"t", b"b") else None for kind, value in row]
        assert [*formats] == [FORMATS[kind] for kind, _ in row]
        assert (values, formats, len(data)) == raw_values(data, len(PREFIX))


def test_a_row_is_cut_by_the_shape_of_one_with_the_same_lengths() -> None:
    reader = RawRows()
    reader.last(message([(b"b", b"12"), (b"n", b"")]), len(PREFIX))
    assert reader.last(message([(b"b", b"34"), (b"n", b"")]), len(PREFIX))[0] == [b"34", None]
    assert reader.hits == 1


def test_shapes_are_given_up_where_they_do_not_repeat() -> None:
    reader = RawRows()
    for number in range(600):
        size = number % 7
        row = [(b"t", b"x" * size), (b"t", b"y" * (6 - size))]
        assert reader.last(message(row), len(PREFIX))[0] == [row[0][1], row[1][1]]
    assert not reader.is_learning


@pytest.mark.parametrize("known", [False, True])
def test_a_row_that_does_not_end_with_its_message_is_malformed(known: bool) -> None:
    reader = RawRows()
    data = message([(b"t", b"abc")])
    if known:
        reader.last(data, len(PREFIX))
    with pytest.raises(Malformed):
        reader.last(data + b"\0", len(PREFIX))
    with pytest.raises((Malformed, struct.error, IndexError)):
        reader.last(data[:-1], len(PREFIX))
