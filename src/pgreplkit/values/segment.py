"""SegmentSize: how large the files in pg_wal are."""

from __future__ import annotations

import re
from typing import ClassVar

import attrs

from pgreplkit.errors import InvalidSegmentSize

_UNITS = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_TEXT = re.compile(r"([0-9]{1,10}) ?(B|kB|MB|GB)", re.ASCII)


@attrs.frozen(order=False)
class SegmentSize:
    """Bytes in a WAL segment: a power of two from 1 MiB to 1 GiB; most servers have 16 MiB.

    >>> SegmentSize(16777216) == SegmentSize.parse("16MB") == SegmentSize.DEFAULT
    True
    >>> int(SegmentSize.parse("1GB")), str(SegmentSize(1 << 26))
    (1073741824, '64MB')

    Raises: InvalidSegmentSize; TypeError when it is not an int.
    Source: the setting wal_segment_size (initdb --wal-segsize from 11 on).
    """

    bytes: int

    DEFAULT: ClassVar[SegmentSize]
    """16 MiB, unless the cluster was initialised with another size."""

    def __attrs_post_init__(self) -> None:
        if type(self.bytes) is not int:
            raise TypeError(f"a segment size is an int of bytes, not {type(self.bytes).__name__}")
        if not 1 << 20 <= self.bytes <= 1 << 30:
            raise InvalidSegmentSize(self.bytes, "it is not between 1 MiB and 1 GiB")
        if self.bytes & (self.bytes - 1):
            raise InvalidSegmentSize(self.bytes, "it is not a power of two")

    @classmethod
    def parse(cls, text: str) -> SegmentSize:
        """The size in the server's words, as in ``16MB`` or ``1GB``.

        Raises: InvalidSegmentSize; TypeError when it is not a str.
        """
        if not isinstance(text, str):
            raise TypeError(f"a segment size's text is a str, not {type(text).__name__}")
        match = _TEXT.fullmatch(text)
        if match is None:
            raise InvalidSegmentSize(text, "it is not a number with a unit")
        return cls(int(match[1]) * _UNITS[match[2]])

    @property
    def per_log(self) -> int:
        """How many segments share the middle part of a WAL file's name (4 GiB of WAL)."""
        return (1 << 32) // self.bytes

    def __int__(self) -> int:
        return self.bytes

    def __str__(self) -> str:
        return "1GB" if self.bytes == 1 << 30 else f"{self.bytes >> 20}MB"

    def __repr__(self) -> str:
        return f"SegmentSize({self.bytes})"

    def __lt__(self, other: SegmentSize) -> bool:
        return self.bytes < other.bytes if isinstance(other, SegmentSize) else NotImplemented

    def __le__(self, other: SegmentSize) -> bool:
        return self.bytes <= other.bytes if isinstance(other, SegmentSize) else NotImplemented

    def __gt__(self, other: SegmentSize) -> bool:
        return self.bytes > other.bytes if isinstance(other, SegmentSize) else NotImplemented

    def __ge__(self, other: SegmentSize) -> bool:
        return self.bytes >= other.bytes if isinstance(other, SegmentSize) else NotImplemented


SegmentSize.DEFAULT = SegmentSize(16 * 1024 * 1024)
