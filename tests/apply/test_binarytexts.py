"""Texts of binary values; a live test compares all types with the server's."""

from __future__ import annotations

import struct
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given, strategies as st
from psycopg.adapt import PyFormat, Transformer

from pgreplkit.apply.binarytexts import binary_text

DUMPED = Transformer(None)


def dumped(value: object) -> bytes:
    found = DUMPED.get_dumper(value, PyFormat.BINARY).dump(value)
    assert found is not None
    return bytes(found)


@given(st.dates())
def test_a_date_is_written_in_iso_form(day: date) -> None:
    assert binary_text(1082, dumped(day)) == day.isoformat()


@given(st.integers(-(2**62), 2**62))
def test_a_timestamp_counts_microseconds_from_2000_on(microseconds: int) -> None:
    text = binary_text(1184, struct.pack(">q", microseconds))
    day = date(2000, 1, 1).toordinal() + microseconds // 86_400_000_000
    if 1 <= day <= date.max.toordinal():
        assert text.startswith(date.fromordinal(day).isoformat())
    hours, minutes, seconds = text.removesuffix(" BC").removesuffix("+00").split(" ")[1].split(":")
    since = timedelta(hours=int(hours), minutes=int(minutes))
    assert since.seconds + float(seconds) == microseconds % 86_400_000_000 / 1e6


@given(st.decimals(allow_infinity=False, allow_nan=False, places=5))
def test_a_numeric_keeps_its_digits_and_its_scale(number: Decimal) -> None:
    text = binary_text(1700, dumped(number))
    assert Decimal(text) == number
    assert len(text.partition(".")[2]) == 5


@given(st.floats(allow_nan=False))
def test_a_float_is_read_as_the_same_number(number: float) -> None:
    assert float(binary_text(701, struct.pack(">d", number))) == number


def test_a_value_of_another_type_is_written_in_hexadecimal() -> None:
    assert binary_text(600, b"\x01\xff") == "\\x01ff"
