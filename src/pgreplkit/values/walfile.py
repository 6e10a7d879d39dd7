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
_MAX_POSITION = (1 << 64) - 1


class _Text:
    """The slot for a name's text, which is made when it is first asked for."""

    __slots__ = ("_text",)
    _text: str


@attrs.frozen(order=False, repr=False)
class WalFileName(_Text):
    """The name of a WAL segment: its timeline, its number from the start of the WAL, its size.

    The name does not say how large the segment is; that is 16 MiB unless told.

    >>> name = WalFileName.parse("0000000100000004000000DF")
    >>> name.timeline, name.number, str(name.first_lsn), str(name.next)
    (1, 1247, '4/DF000000', '0000000100000004000000E0')
    >>> LSN("4/DF75D0E0") in name
    True

    Names are ordered by timeline, then by position. ``name + n`` and ``name - n`` are names on the
    same timeline, ``name - name`` counts segments.

    Raises: InvalidWalFileName; TypeError for parts that are not ints.
    """

    timeline: int
    number: int
    segment_size: SegmentSize = SegmentSize.DEFAULT

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
        if not 0 <= number <= _MAX_POSITION // self.segment_size.bytes:
            raise InvalidWalFileName(number, "there is no segment of that number in 64 bits of WAL")

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
        if not isinstance(segment_size, SegmentSize):
            raise TypeError(f"segment_size is a SegmentSize, not {type(segment_size).__name__}")
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
        name = _made(timeline, log * per_log + segment, segment_size)
        _set_text(name, text.upper())
        return name

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
        if not isinstance(segment_size, SegmentSize):
            raise TypeError(f"segment_size is a SegmentSize, not {type(segment_size).__name__}")
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
        return _moved(self, self.number + 1)

    @property
    def previous(self) -> WalFileName:
        """The name before this one, on the same timeline.

        Raises: InvalidWalFileName before the first.
        """
        return _moved(self, self.number - 1)

    def __contains__(self, lsn: LSN) -> bool:
        if not isinstance(lsn, LSN):
            raise TypeError(f"a WAL file contains LSNs, not {type(lsn).__name__}")
        return int(lsn) // self.segment_size.bytes == self.number

    def __add__(self, count: int) -> WalFileName:
        if type(count) is not int:
            return NotImplemented
        return _moved(self, self.number + count)

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
        return _moved(self, self.number - other)

    def __str__(self) -> str:
        try:
            return self._text
        except AttributeError:
            number, per_log = self.number, (1 << 32) // self.segment_size.bytes
            text = "%08X%08X%08X" % (self.timeline, number // per_log, number % per_log)
            _set_text(self, text)
            return text

    def __repr__(self) -> str:
        if self.segment_size == SegmentSize.DEFAULT:
            return f"WalFileName.parse('{self}')"
        return f"WalFileName.parse('{self}', segment_size={self.segment_size!r})"

    def __lt__(self, other: WalFileName) -> bool:
        return self._order() < other._order() if isinstance(other, WalFileName) else NotImplemented

    def __le__(self, other: WalFileName) -> bool:
        return self._order() <= other._order() if isinstance(other, WalFileName) else NotImplemented

    def __gt__(self, other: WalFileName) -> bool:
        return self._order() > other._order() if isinstance(other, WalFileName) else NotImplemented

    def __ge__(self, other: WalFileName) -> bool:
        return self._order() >= other._order() if isinstance(other, WalFileName) else NotImplemented

    def _order(self) -> tuple[int, int, int]:
        size = self.segment_size.bytes
        return self.timeline, self.number * size, size


# Parsing and stepping know that their parts are right, so they need not be checked once more.
_new = object.__new__
_set_text = _Text._text.__set__  # type: ignore[attr-defined, misc]
_set_timeline = WalFileName.timeline.__set__  # type: ignore[attr-defined]
_set_number = WalFileName.number.__set__  # type: ignore[attr-defined]
_set_segment_size = WalFileName.segment_size.__set__  # type: ignore[attr-defined]


def _made(timeline: int, number: int, segment_size: SegmentSize) -> WalFileName:
    name = _new(WalFileName)
    _set_timeline(name, timeline)
    _set_number(name, number)
    _set_segment_size(name, segment_size)
    return name


def _moved(name: WalFileName, number: int) -> WalFileName:
    if 0 <= number <= _MAX_POSITION // name.segment_size.bytes:
        return _made(name.timeline, number, name.segment_size)
    raise InvalidWalFileName(number, "there is no segment of that number in 64 bits of WAL")
