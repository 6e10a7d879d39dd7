"""WalFileName: the name of a WAL segment."""

from binascii import unhexlify
from struct import Struct
from typing import overload

import attrs

from pgreplkit._text import counted
from pgreplkit.errors import InvalidWalFileName
from pgreplkit.values.lsn import LSN
from pgreplkit.values.modelfield import ModelField
from pgreplkit.values.segment import AnySegmentSize, SegmentSize, segment_size_of

_PARTS = Struct(">III").unpack
_MAX_POSITION = (1 << 64) - 1


class _Text:
    """Cache of a name's text, which is formatted on first use.

    A separate base class, because attrs would make the slot a field.
    """

    __slots__ = ("_text",)
    _text: str


@attrs.frozen(order=False, repr=False)
class WalFileName(_Text, ModelField):
    """The name of a WAL segment: timeline, segment number and segment size.

    The segment size is not part of the name; by default it is 16 MiB.

    >>> name = WalFileName.parse("0000000100000004000000DF")
    >>> name.timeline, name.number, str(name.first_lsn), str(name.next)
    (1, 1247, '4/DF000000', '0000000100000004000000E0')
    >>> LSN("4/DF75D0E0") in name
    True

    Names are ordered by timeline, then by position. ``name + n`` and ``name - n`` are names on the
    same timeline; ``name - name`` counts segments.

    Raises:
        InvalidWalFileName: If the timeline or the segment number is out of range.
        TypeError: If they are not ints.
    """

    timeline: int
    number: int
    segment_size: SegmentSize = attrs.field(default=SegmentSize.DEFAULT, converter=segment_size_of)

    def __attrs_post_init__(self) -> None:
        timeline, number = self.timeline, self.number
        if type(timeline) is not int or type(number) is not int:
            raise TypeError("the timeline and number of a WAL file name must be ints")
        if not 0 < timeline < 1 << 32:
            raise InvalidWalFileName(timeline, "the timeline is not between 1 and 2**32 - 1")
        if not 0 <= number <= _MAX_POSITION // self.segment_size.bytes:
            raise InvalidWalFileName(number, "the segment number is outside 64 bits of WAL")

    @classmethod
    def parse(
        cls, text: str, *, segment_size: AnySegmentSize = SegmentSize.DEFAULT
    ) -> "WalFileName":
        """Parse 24 hex digits, in upper or lower case.

        >>> str(WalFileName.parse("0000000a0000000b0000000c"))
        '0000000A0000000B0000000C'

        Raises:
            InvalidWalFileName: For other text, for timeline 0, and for a last part that is too
                large for the segment size (which pg_split_walfile_name accepts).
            TypeError: If the text is not a str.
        """
        if not isinstance(text, str):
            raise TypeError(f"a WAL file name must be a str, not {type(text).__name__}")
        size = segment_size_of(segment_size)
        if len(text) != 24:
            raise InvalidWalFileName(text, f"it has {counted(len(text), 'character')}")
        try:
            timeline, log, segment = _PARTS(unhexlify(text))
        except ValueError:
            raise InvalidWalFileName(
                text, "it contains a character that is not a hex digit"
            ) from None
        per_log = (1 << 32) // size.bytes
        if segment >= per_log:
            raise InvalidWalFileName(
                text,
                f"its last part is not below {per_log:X}, the number of {size} segments in 4 GiB",
            )
        if timeline == 0:
            raise InvalidWalFileName(text, "the timeline is not between 1 and 2**32 - 1")
        name = _made(timeline, log * per_log + segment, size)
        _set_text(name, text.upper())
        return name

    @classmethod
    def containing(
        cls, lsn: LSN, *, timeline: int, segment_size: AnySegmentSize = SegmentSize.DEFAULT
    ) -> "WalFileName":
        """Return the file that contains the byte at ``lsn``.

        A position on a segment boundary belongs to the file that starts there.

        >>> WalFileName.containing(LSN("4/DF75D0E0"), timeline=1)
        WalFileName.parse('0000000100000004000000DF')

        Raises:
            InvalidWalFileName: If the timeline is not between 1 and 2³²−1.
            TypeError: If ``lsn`` is not an LSN.
        """
        if not isinstance(lsn, LSN):
            raise TypeError(f"a WAL file contains LSNs, not {type(lsn).__name__}")
        size = segment_size_of(segment_size)
        return cls(timeline, int(lsn) // size.bytes, size)

    @property
    def log(self) -> int:
        """The middle part of the name: the high 32 bits of the LSNs in the file."""
        return self.number // self.segment_size.per_log

    @property
    def segment(self) -> int:
        """The last part of the name: the number of the segment within its 4 GiB."""
        return self.number % self.segment_size.per_log

    @property
    def first_lsn(self) -> LSN:
        """The position of the file's first byte."""
        return LSN(self.number * self.segment_size.bytes)

    @property
    def end_lsn(self) -> LSN:
        """The position after the file's last byte.

        Raises:
            InvalidLSN: For the last possible segment, which ends at 2⁶⁴.
        """
        return self.first_lsn + self.segment_size.bytes

    def lsn_at(self, offset: int) -> LSN:
        """Return the position ``offset`` bytes after the start of the file.

        >>> str(WalFileName.parse("0000000100000004000000DF").lsn_at(0x75D0E0))
        '4/DF75D0E0'

        Raises:
            InvalidWalFileName: If the offset is outside the segment.
        """
        if type(offset) is not int:
            raise TypeError(f"an offset must be an int, not {type(offset).__name__}")
        if not 0 <= offset < self.segment_size.bytes:
            raise InvalidWalFileName(
                offset, f"the offset is not inside {self}, a segment of {self.segment_size}"
            )
        return self.first_lsn + offset

    @property
    def next(self) -> "WalFileName":
        """The next name on the same timeline."""
        return _moved(self, self.number + 1)

    @property
    def previous(self) -> "WalFileName":
        """The previous name on the same timeline.

        Raises:
            InvalidWalFileName: For the first segment.
        """
        return _moved(self, self.number - 1)

    def __contains__(self, lsn: LSN) -> bool:
        if not isinstance(lsn, LSN):
            raise TypeError(f"a WAL file contains LSNs, not {type(lsn).__name__}")
        return int(lsn) // self.segment_size.bytes == self.number

    def __add__(self, count: int) -> "WalFileName":
        if type(count) is not int:
            return NotImplemented
        return _moved(self, self.number + count)

    @overload
    def __sub__(self, other: "WalFileName") -> int: ...
    @overload
    def __sub__(self, other: int) -> "WalFileName": ...
    def __sub__(self, other: "WalFileName | int") -> "int | WalFileName":
        if isinstance(other, WalFileName):
            if (self.timeline, self.segment_size) != (other.timeline, other.segment_size):
                raise InvalidWalFileName(
                    str(other),
                    f"{self} has another timeline or segment size: the difference is undefined",
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

    def __lt__(self, other: "WalFileName") -> bool:
        return self._order() < other._order() if isinstance(other, WalFileName) else NotImplemented

    def __le__(self, other: "WalFileName") -> bool:
        return self._order() <= other._order() if isinstance(other, WalFileName) else NotImplemented

    def __gt__(self, other: "WalFileName") -> bool:
        return self._order() > other._order() if isinstance(other, WalFileName) else NotImplemented

    def __ge__(self, other: "WalFileName") -> bool:
        return self._order() >= other._order() if isinstance(other, WalFileName) else NotImplemented

    def _order(self) -> tuple[int, int, int]:
        size = self.segment_size.bytes
        return self.timeline, self.number * size, size


# Parsing and stepping have already validated the fields: setting the slots directly skips the
# second validation and makes both about three times as fast.
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
    raise InvalidWalFileName(number, "the segment number is outside 64 bits of WAL")
