"""Rows of COPY are split into exactly the values that the server wrote."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pgreplkit.errors import InvalidChangeMessage
from pgreplkit.protocol.copytext import copied_values

ESCAPES = {8: b"\\b", 9: b"\\t", 10: b"\\n", 11: b"\\v", 12: b"\\f", 13: b"\\r", 92: b"\\\\"}


def written(values: list[bytes | None]) -> bytes:
    """Write a row as the server does."""
    fields = (
        b"\\N" if value is None else b"".join(ESCAPES.get(byte, bytes([byte])) for byte in value)
        for value in values
    )
    return b"\t".join(fields) + b"\n"


@given(st.lists(st.none() | st.binary() | st.sampled_from([b"", b"\\N", b"N", b"\\", b"\t"])))
def test_values_come_back_as_they_were_written(values: list[bytes | None]) -> None:
    assert copied_values(written(values), len(values)) == values


def test_a_row_of_no_columns_has_no_values() -> None:
    assert copied_values(b"\n", 0) == []
    assert copied_values(b"\n", 1) == [b""]


@pytest.mark.parametrize(("row", "count"), [(b"a\tb\n", 1), (b"a\n", 2), (b"a\n", 0)])
def test_a_row_with_another_number_of_columns_is_refused(row: bytes, count: int) -> None:
    with pytest.raises(InvalidChangeMessage):
        copied_values(row, count)
