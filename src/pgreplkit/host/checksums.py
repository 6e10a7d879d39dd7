"""The checksums of a backup's manifest, as its hex digits have them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Protocol

_POLYNOMIAL = 0x82F63B78
"""Castagnoli's, its bits reversed."""
_SHA = {"SHA224", "SHA256", "SHA384", "SHA512"}


class Checksum(Protocol):
    """One that is being computed."""

    def update(self, data: memoryview, /) -> None:
        """More of the file."""

    def hexdigest(self) -> str:
        """What it is of all so far."""


def checksum(algorithm: str) -> Callable[[], Checksum] | None:
    """What begins one; None for an algorithm that is not known, and for NONE."""
    name = algorithm.upper()
    if name == "CRC32C":
        return Crc32c
    if name in _SHA:
        return functools.partial(hashlib.new, name)
    return None


def quickest() -> str:
    """The algorithm to ask for: the server's own choice, where this side computes it in C."""
    return "CRC32C" if find_spec("google_crc32c") else "SHA256"


class Crc32c:
    """CRC-32C, by google-crc32c where that is installed, else slowly."""

    def __init__(self) -> None:
        self._value = 0
        self._extend = _extension()

    def update(self, data: memoryview, /) -> None:
        """More of the file."""
        self._value = self._extend(self._value, bytes(data))

    def hexdigest(self) -> str:
        """As a server writes it, which takes the number's bytes as they lie in its memory."""
        return self._value.to_bytes(4, "little").hex()


@functools.cache
def _extension() -> Callable[[int, bytes], int]:
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
    """The checksum of more data, in Python."""
    table = _table()
    value ^= 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF
