"""CRC-32C, by google-crc32c if it is installed, otherwise in slow Python."""

from __future__ import annotations

import functools
from collections.abc import Callable

_POLYNOMIAL = 0x82F63B78
"""The Castagnoli polynomial, bits reversed."""


@functools.cache
def extension() -> Callable[[int, bytes], int]:
    """Return the quickest function that extends a checksum by more data."""
    try:
        import google_crc32c
    except ImportError:
        return extended
    extend: Callable[[int, bytes], int] = google_crc32c.extend
    return extend


@functools.cache
def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


def extended(value: int, data: bytes) -> int:
    """Return the checksum extended by more data, computed in Python."""
    table = _table()
    value ^= 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF
