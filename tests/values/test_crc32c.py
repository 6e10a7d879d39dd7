"""CRC-32C."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, strategies as st

from pgreplkit.values.crc32c import extended, extension


def test_the_checksum_is_that_of_the_standard() -> None:
    assert extended(0, b"123456789") == 0xE3069283
    assert extended(0, bytes(32)) == 0x8A9136AA


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_checksum_can_be_extended_in_pieces(first: bytes, second: bytes) -> None:
    assert extended(extended(0, first), second) == extended(0, first + second)
    assert extension()(extended(0, first), second) == extended(0, first + second)


def test_without_the_extra_python_computes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    assert extension.__wrapped__() is extended
