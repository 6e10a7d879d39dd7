"""Values of keys that are spelt in several ways."""

from __future__ import annotations

import struct
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st
from psycopg.types.numeric import DecimalBinaryDumper

from pgreplkit.apply.keyvalues import is_one_value
from pgreplkit.protocol.pgoutput.tuples import BINARY, TEXT

NUMERIC, FLOAT4, FLOAT8, TEXT_TYPE = 1700, 700, 701, 25
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-99, max_value=99)
dumper = DecimalBinaryDumper(Decimal)


def sent(value: Decimal, how: int) -> tuple[bytes, int]:
    return (bytes(dumper.dump(value) or b""), how) if how == BINARY else (f"{value}".encode(), how)


@given(decimals, decimals, st.integers(0, 3), st.integers(0, 3), st.sampled_from([TEXT, BINARY]))
def test_numbers_are_equal_whatever_zeros_follow(
    a: Decimal, b: Decimal, zeros: int, more: int, how: int
) -> None:
    first = a.quantize(Decimal(1).scaleb(-2 - zeros))
    for other, expected in ((a, True), (b, a == b)):
        second = other.quantize(Decimal(1).scaleb(-2 - more))
        assert is_one_value(NUMERIC, sent(first, how), sent(second, how)) is expected


@pytest.mark.parametrize(("oid", "code"), [(FLOAT4, ">f"), (FLOAT8, ">d")])
@given(a=st.floats(width=16), b=st.floats(width=16))
def test_floats_are_equal_as_the_server_compares(a: float, b: float, oid: int, code: str) -> None:
    expected = a == b or (a != a and b != b)
    binary = [(struct.pack(code, value), BINARY) for value in (a, b)]
    text = [(repr(value).encode(), TEXT) for value in (a, b)]
    assert is_one_value(oid, *binary) is expected
    assert is_one_value(oid, *text) is expected


def test_other_values_are_equal_if_their_bytes_are() -> None:
    assert not is_one_value(TEXT_TYPE, (b"1.0", TEXT), (b"1.00", TEXT))
    assert is_one_value(TEXT_TYPE, (b"1.0", TEXT), (b"1.0", TEXT))
    assert not is_one_value(NUMERIC, (None, TEXT), (b"1.0", TEXT))
    assert not is_one_value(NUMERIC, (b"1.0", TEXT), (b"NaN", TEXT))
