"""LSN: a position in the WAL."""

from __future__ import annotations

from binascii import unhexlify
from struct import Struct

from pgreplkit.errors import InvalidLSN

# Not typing.TYPE_CHECKING: importing typing costs more than all of this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, NoReturn, Self, SupportsIndex, overload

    from pgreplkit.values.segment import SegmentSize
    from pgreplkit.values.walfile import WalFileName
else:

    def overload(function):
        return function


_new = bytes.__new__
_HALVES = Struct(">II").unpack
_MAX = (1 << 64) - 1


class LSN(bytes):
    """A position in the WAL: a byte address from 0 to 2⁶⁴−1, equivalent to ``pg_lsn``.

    The class is based on ``bytes`` (the position's eight big-endian bytes) because comparison and
    sorting are then as fast as for ints. It offers no other operation of ``bytes``: an LSN cannot
    be indexed or iterated, and is not equal to an int.

    ==============  ==============================================================
    ``LSN(text)``   accepts exactly the texts that the server's ``pg_lsn`` accepts
    ``LSN(int)``    accepts 0 to 2⁶⁴−1
    ``str(lsn)``    the server's notation, for example ``16/B374D848``
    ``lsn - lsn``   an ``int`` of bytes, negative if the right operand is larger
    ``lsn + int``   an LSN, as is ``lsn - int``; raises if the result is out of range
    ==============  ==============================================================

    >>> lsn = LSN("16/B374D848")
    >>> int(lsn), str(lsn + 0x7B8)
    (97500059720, '16/B374E000')
    >>> lsn - LSN("16/B3000000")
    7657544
    >>> LSN("9/0") < LSN("10/0")
    True

    Raises:
        InvalidLSN: If the text is malformed or the position is out of range.
        TypeError: For floats, bools and other types.

    Source:
        The type pg_lsn.
    """

    __slots__ = ()
    __match_args__: ClassVar[tuple[()]] = ()

    INVALID: ClassVar[LSN]
    """``0/0``, the server's InvalidXLogRecPtr: no position."""
    MAX: ClassVar[LSN]
    """``FFFFFFFF/FFFFFFFF``, the highest position."""

    def __new__(cls, position: str | int, /) -> Self:
        if isinstance(position, str):
            # Most positions have a low half of eight digits: then one unhexlify validates both.
            if position[-9:-8] == "/" and 9 < len(position) < 18:
                try:
                    return _new(cls, unhexlify(position.zfill(17).replace("/", "", 1)))
                except ValueError:
                    raise _refusal(position) from None
            high, slash, low = position.partition("/")
            if slash and 0 < len(high) < 9 and 0 < len(low) < 9:
                try:
                    return _new(cls, unhexlify(high.zfill(8) + low.zfill(8)))
                except ValueError:
                    pass
            raise _refusal(position)
        if type(position) is int:
            try:
                return _new(cls, position.to_bytes(8, "big"))
            except OverflowError:
                raise InvalidLSN(position, "it is outside 64 bits") from None
        raise TypeError(f"LSN() takes a str or int, not {type(position).__name__}")

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, /) -> Self:
        """Decode eight big-endian bytes, as sent in the replication protocol.

        >>> LSN.from_bytes(bytes.fromhex("00000016B374D848"))
        LSN('16/B374D848')

        Raises:
            InvalidLSN: If ``data`` is not eight bytes long.
            TypeError: If ``data`` is not bytes-like.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"LSN.from_bytes() takes bytes, not {type(data).__name__}")
        if memoryview(data).nbytes != 8:
            raise InvalidLSN(bytes(data), "an LSN is 8 bytes")
        return _new(cls, data)

    def to_bytes(self) -> bytes:
        """Encode the position as eight big-endian bytes, as in the replication protocol.

        >>> LSN("16/B374D848").to_bytes().hex()
        '00000016b374d848'
        """
        return _new(bytes, self)

    def offset_in(self, segment_size: SegmentSize) -> int:
        """Return the position's offset in bytes from the start of its segment.

        >>> from pgreplkit import SegmentSize
        >>> hex(LSN("4/DF75D0E0").offset_in(SegmentSize.DEFAULT))
        '0x75d0e0'
        """
        return int(self) & (int(segment_size) - 1)

    def wal_file(self, *, timeline: int, segment_size: SegmentSize | None = None) -> WalFileName:
        """Return the WAL file that contains the byte at this position.

        Segments are 16 MiB by default. A position on a segment boundary belongs to the file that
        starts there. The server's pg_walfile_name() agrees from 17 on;
        ``pgreplkit.pg_walfile_name`` follows the behaviour of a given server version.

        >>> print(LSN("4/DF75D0E0").wal_file(timeline=1))
        0000000100000004000000DF

        Raises:
            InvalidWalFileName: If the timeline is not between 1 and 2³²−1.
        """
        from pgreplkit import WalFileName

        if segment_size is None:
            return WalFileName.containing(self, timeline=timeline)
        return WalFileName.containing(self, timeline=timeline, segment_size=segment_size)

    def __int__(self) -> int:
        return int.from_bytes(self, "big")

    def __str__(self) -> str:
        return "%X/%X" % _HALVES(self)

    def __repr__(self) -> str:
        return "LSN('%X/%X')" % _HALVES(self)

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __add__(self, count: int, /) -> LSN:  # type: ignore[override]
        if type(count) is not int:
            return NotImplemented
        return _moved(self, count)

    def __radd__(self, count: int, /) -> LSN:
        return self.__add__(count)

    @overload
    def __sub__(self, other: LSN, /) -> int: ...
    @overload
    def __sub__(self, other: int, /) -> LSN: ...
    def __sub__(self, other: LSN | int, /) -> int | LSN:
        if isinstance(other, LSN):
            return int.from_bytes(self, "big") - int.from_bytes(other, "big")
        if type(other) is not int:
            return NotImplemented
        return _moved(self, -other)

    def __reduce__(self) -> tuple[type[LSN], tuple[str]]:
        return LSN, (str(self),)

    def __copy__(self) -> LSN:
        return self

    def __deepcopy__(self, memo: object) -> LSN:
        return self

    def __dir__(self) -> list[str]:
        own = ("INVALID", "MAX", "from_bytes", "to_bytes", "offset_in", "wal_file")
        return sorted({*object.__dir__(self)} - {*dir(bytes)} | {*own} | {*dir(object)})

    # bytes is only the representation, so operations on its items are disabled. len() remains,
    # because code that handles any bytes calls it, such as pytest when it names a parameter.
    def __iter__(self) -> NoReturn:
        raise TypeError("an LSN is not iterable")

    def __getitem__(self, index: SupportsIndex | slice, /) -> NoReturn:
        raise TypeError("an LSN has no items")

    def __contains__(self, item: object, /) -> NoReturn:
        raise TypeError("an LSN is not a container")

    def __mul__(self, count: SupportsIndex, /) -> NoReturn:
        raise TypeError("an LSN cannot be multiplied")

    def __rmul__(self, count: SupportsIndex, /) -> NoReturn:
        raise TypeError("an LSN cannot be multiplied")

    def __mod__(self, value: object, /) -> NoReturn:
        raise TypeError("an LSN has no remainder; use offset_in()")


def _moved(lsn: LSN, count: int) -> LSN:
    position = int.from_bytes(lsn, "big") + count
    if 0 <= position <= _MAX:
        return _new(LSN, position.to_bytes(8, "big"))
    raise InvalidLSN(
        f"{lsn} {count:+}" if abs(count) <= _MAX else str(lsn), "it would leave 64 bits"
    )


def _refusal(text: str) -> InvalidLSN:
    high, slash, low = text.partition("/")
    if not slash:
        reason = "it contains no '/'"
    elif not high or not low:
        reason = "one of its parts is empty"
    elif "/" in low:
        reason = "it contains more than one '/'"
    elif len(high) > 8 or len(low) > 8:
        reason = "one of its parts has more than 8 digits"
    else:
        reason = "it contains a character that is not a hex digit"
    return InvalidLSN(text, reason)


LSN.INVALID = LSN(0)
LSN.MAX = LSN(_MAX)
