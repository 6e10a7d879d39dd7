"""WalFileName: the name of a WAL segment, and its unfinished form."""

from __future__ import annotations

from binascii import unhexlify
from struct import Struct
from typing import overload

import attrs

from pgreplkit.errors import InvalidWalFileName
from pgreplkit.values.lsn import LSN
from pgreplkit.values.segment import SegmentSize

_PARTS = Struct(">III").unpack
_set = object.__setattr__


@attrs.frozen(order=False, repr=False)
class WalFileName:
    """The name of a WAL segment: its timeline, its number from the start of the WAL, its size.

    The name does not say how large the segment is; that is 16 MiB unless told.

    >>> name = WalFileName.parse("0000000100000004000000DF")
    >>> name.timeline, name.number, str(name.first_lsn), str(name.next)
    (1, 1247, '4/DF000000', '0000000100000004000000E0')
    >>> LSN("4/DF75D0E0") in name
    True

    Names are ordered by their text. ``name + n`` and ``name - n`` are names on the same timeline,
    ``name - name`` counts segments.

    Raises: InvalidWalFileName; TypeError for parts that are not ints.
    """

    __module__ = "pgreplkit"

    timeline: int
    number: int
    segment_size: SegmentSize = SegmentSize.DEFAULT
    _text: str = attrs.field(init=False, eq=False, hash=False)

    def __attrs_post_init__(self) -> None:
        timeline, number = self.timeline, self.number
        if type(timeline) is not int or type(number) is not int:
            raise TypeError("a WAL file's timeline and number are ints")
        if not isinstance(self.segment_size, SegmentSize):
            raise TypeError(
                f"segment_size is a SegmentSize, not {type(self.segment_size).__name__}"
            )
        if not 0 < timeline < 1 << 32:
            raise InvalidWalFileName(timeline, "a timeline is from 1 to 2**32 - 1")
        log, segment = divmod(number, (1 << 32) // self.segment_size.bytes)
        if not 0 <= log < 1 << 32:
            raise InvalidWalFileName(number, "there is no segment of that number in 64 bits of WAL")
        _set(self, "_text", f"{timeline:08X}{log:08X}{segment:08X}")

    @classmethod
    def parse(cls, text: str, *, segment_size: SegmentSize = SegmentSize.DEFAULT) -> WalFileName:
        """The name in 24 hex digits of either case.

        >>> str(WalFileName.parse("0000000a0000000b0000000c"))
        '0000000A0000000B0000000C'

        Raises: InvalidWalFileName for other text, for timeline 0, and for a segment part that
        is too large for the segment size (which pg_split_walfile_name lets pass).
        """
        if not isinstance(text, str):
            raise TypeError(f"a WAL file name is a str, not {type(text).__name__}")
        if len(text) != 24:
            raise InvalidWalFileName(text, f"it has {len(text)} characters")
        try:
            timeline, log, segment = _PARTS(unhexlify(text))
        except ValueError:
            raise InvalidWalFileName(text, "one of its characters is not a hex digit") from None
        per_log = (1 << 32) // segment_size.bytes
        if segment >= per_log:
            raise InvalidWalFileName(
                text,
                f"its last part is not below {per_log:X}, the segments of {segment_size} in 4 GiB",
            )
        if timeline == 0:
            raise InvalidWalFileName(text, "a timeline is from 1 to 2**32 - 1")
        return cls(timeline, log * per_log + segment, segment_size)

    @classmethod
    def containing(
        cls, lsn: LSN, *, timeline: int, segment_size: SegmentSize = SegmentSize.DEFAULT
    ) -> WalFileName:
        """The file that the byte at ``lsn`` is in; on a boundary, the file that starts there.

        >>> WalFileName.containing(LSN("4/DF75D0E0"), timeline=1)
        WalFileName.parse('0000000100000004000000DF')

        Raises: InvalidWalFileName for a timeline outside 1…2³²−1; TypeError without an LSN.
        """
        if not isinstance(lsn, LSN):
            raise TypeError(f"a WAL file contains LSNs, not {type(lsn).__name__}")
        return cls(timeline, int(lsn) // segment_size.bytes, segment_size)

    @property
    def log(self) -> int:
        """The middle part of the name: the high half of the LSNs in it."""
        return self.number // self.segment_size.per_log

    @property
    def segment(self) -> int:
        """The last part of the name: which segment of its 4 GiB it is."""
        return self.number % self.segment_size.per_log

    @property
    def first_lsn(self) -> LSN:
        """The position of its first byte."""
        return LSN(self.number * self.segment_size.bytes)

    @property
    def end_lsn(self) -> LSN:
        """The position after its last byte.

        Raises: InvalidLSN for the very last segment, which ends at 2⁶⁴.
        """
        return self.first_lsn + self.segment_size.bytes

    def lsn_at(self, offset: int) -> LSN:
        """The position that is ``offset`` bytes into the file.

        >>> str(WalFileName.parse("0000000100000004000000DF").lsn_at(0x75D0E0))
        '4/DF75D0E0'

        Raises: InvalidWalFileName when the offset is not inside the segment.
        """
        if type(offset) is not int:
            raise TypeError(f"an offset is an int, not {type(offset).__name__}")
        if not 0 <= offset < self.segment_size.bytes:
            raise InvalidWalFileName(offset, f"an offset into {self} is below {self.segment_size}")
        return self.first_lsn + offset

    @property
    def next(self) -> WalFileName:
        """The name after this one, on the same timeline."""
        return WalFileName(self.timeline, self.number + 1, self.segment_size)

    @property
    def previous(self) -> WalFileName:
        """The name before this one, on the same timeline.

        Raises: InvalidWalFileName before the first.
        """
        return WalFileName(self.timeline, self.number - 1, self.segment_size)

    def __contains__(self, lsn: LSN) -> bool:
        if not isinstance(lsn, LSN):
            raise TypeError(f"a WAL file contains LSNs, not {type(lsn).__name__}")
        return int(lsn) // self.segment_size.bytes == self.number

    def __add__(self, count: int) -> WalFileName:
        if type(count) is not int:
            return NotImplemented
        return WalFileName(self.timeline, self.number + count, self.segment_size)

    @overload
    def __sub__(self, other: WalFileName) -> int: ...
    @overload
    def __sub__(self, other: int) -> WalFileName: ...
    def __sub__(self, other: WalFileName | int) -> int | WalFileName:
        if isinstance(other, WalFileName):
            if (self.timeline, self.segment_size) != (other.timeline, other.segment_size):
                raise InvalidWalFileName(
                    str(other), f"{self} is of another timeline or segment size: no count between"
                )
            return self.number - other.number
        if type(other) is not int:
            return NotImplemented
        return WalFileName(self.timeline, self.number - other, self.segment_size)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        if self.segment_size == SegmentSize.DEFAULT:
            return f"WalFileName.parse({self._text!r})"
        return f"WalFileName.parse({self._text!r}, segment_size={self.segment_size!r})"

    def __lt__(self, other: WalFileName) -> bool:
        return self._order() < other._order() if isinstance(other, WalFileName) else NotImplemented

    def __le__(self, other: WalFileName) -> bool:
        return self._order() <= other._order() if isinstance(other, WalFileName) else NotImplemented

    def __gt__(self, other: WalFileName) -> bool:
        return self._order() > other._order() if isinstance(other, WalFileName) else NotImplemented

    def __ge__(self, other: WalFileName) -> bool:
        return self._order() >= other._order() if isinstance(other, WalFileName) else NotImplemented

    def _order(self) -> tuple[str, int]:
        return self._text, self.segment_size.bytes
