"""The checksums of a backup manifest, as hexadecimal texts."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Protocol

from pgreplkit.values.crc32c import extension

_SHA = {"SHA224", "SHA256", "SHA384", "SHA512"}


class Checksum(Protocol):
    """A checksum in progress."""

    def update(self, data: memoryview, /) -> None:
        """Add data of the file."""

    def hexdigest(self) -> str:
        """Return the checksum of the data up to now."""


def checksum(algorithm: str) -> Callable[[], Checksum] | None:
    """Return the constructor of a checksum; None for an unknown algorithm, and for NONE."""
    name = algorithm.upper()
    if name == "CRC32C":
        return Crc32c
    if name in _SHA:
        return functools.partial(hashlib.new, name)
    return None


def quickest() -> str:
    """Return the algorithm to request: CRC-32C if it is computed in C here."""
    return "CRC32C" if find_spec("google_crc32c") else "SHA256"


class Crc32c:
    """CRC-32C, by google-crc32c if installed, otherwise in slow Python."""

    def __init__(self) -> None:
        self._value = 0
        self._extend = extension()

    def update(self, data: memoryview, /) -> None:
        """Add data of the file."""
        self._value = self._extend(self._value, bytes(data))

    def hexdigest(self) -> str:
        """Return the text as servers write it: the number's bytes in little-endian order."""
        return self._value.to_bytes(4, "little").hex()
