"""SegmentSize: the size of the files in pg_wal."""

import re
from typing import ClassVar, TypeAlias

import attrs

from pgreplkit.errors import InvalidSegmentSize
from pgreplkit.values.modelfield import ModelField

_UNITS = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_TEXT = re.compile(r"([0-9]{1,10}) ?(B|kB|MB|GB)", re.ASCII)


@attrs.frozen(order=False)
class SegmentSize(ModelField):
    """Size of a WAL segment in bytes: a power of two from 1 MiB to 1 GiB, by default 16 MiB.

    >>> SegmentSize(16777216) == SegmentSize.parse("16MB") == SegmentSize.DEFAULT
    True
    >>> int(SegmentSize.parse("1GB")), str(SegmentSize(1 << 26))
    (1073741824, '64MB')

    Raises:
        InvalidSegmentSize: If the size is out of range or not a power of two.
        TypeError: If it is not an int.

    Source:
        The setting wal_segment_size (initdb --wal-segsize, 11 and later).
    """

    bytes: int

    DEFAULT: ClassVar["SegmentSize"]
    """16 MiB, the size of a cluster that was initialized without --wal-segsize."""

    def __attrs_post_init__(self) -> None:
        if type(self.bytes) is not int:
            raise TypeError(
                f"a segment size must be an int of bytes, not {type(self.bytes).__name__}"
            )
        if not 1 << 20 <= self.bytes <= 1 << 30:
            raise InvalidSegmentSize(self.bytes, "it is not between 1 MiB and 1 GiB")
        if self.bytes & (self.bytes - 1):
            raise InvalidSegmentSize(self.bytes, "it is not a power of two")

    @classmethod
    def parse(cls, text: str) -> "SegmentSize":
        """Parse a size as the server shows it, for example ``16MB`` or ``1GB``.

        Raises:
            InvalidSegmentSize: If the text is not a valid size.
            TypeError: If it is not a str.
        """
        if not isinstance(text, str):
            raise TypeError(f"SegmentSize.parse() takes a str, not {type(text).__name__}")
        match = _TEXT.fullmatch(text)
        if match is None:
            raise InvalidSegmentSize(text, "it is not a number with a unit")
        return cls(int(match[1]) * _UNITS[match[2]])

    @property
    def per_log(self) -> int:
        """Number of segments in 4 GiB of WAL, which share the middle part of a WAL file name."""
        return (1 << 32) // self.bytes

    def __int__(self) -> int:
        return self.bytes

    def __str__(self) -> str:
        return "1GB" if self.bytes == 1 << 30 else f"{self.bytes >> 20}MB"

    def __repr__(self) -> str:
        return f"SegmentSize({self.bytes})"

    def __lt__(self, other: "SegmentSize") -> bool:
        return self.bytes < other.bytes if isinstance(other, SegmentSize) else NotImplemented

    def __le__(self, other: "SegmentSize") -> bool:
        return self.bytes <= other.bytes if isinstance(other, SegmentSize) else NotImplemented

    def __gt__(self, other: "SegmentSize") -> bool:
        return self.bytes > other.bytes if isinstance(other, SegmentSize) else NotImplemented

    def __ge__(self, other: "SegmentSize") -> bool:
        return self.bytes >= other.bytes if isinstance(other, SegmentSize) else NotImplemented


SegmentSize.DEFAULT = SegmentSize(16 * 1024 * 1024)

AnySegmentSize: TypeAlias = SegmentSize | int
"""A segment size, or its number of bytes."""


def segment_size_of(size: AnySegmentSize) -> SegmentSize:
    """Return the segment size, converting an int of bytes.

    Raises:
        InvalidSegmentSize: If the int is not a valid size.
        TypeError: If it is neither a SegmentSize nor an int.
    """
    return size if isinstance(size, SegmentSize) else SegmentSize(size)
