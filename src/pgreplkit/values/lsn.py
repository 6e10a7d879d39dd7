"""LSN: a position in the WAL."""

from __future__ import annotations

from binascii import unhexlify
from struct import Struct

from pgreplkit.errors import InvalidLSN
from pgreplkit.values.modelfield import ModelField

# Not typing.TYPE_CHECKING: importing typing costs more than all of this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, NoReturn, Self, overload

    from pgreplkit.values.segment import AnySegmentSize
    from pgreplkit.values.walfile import WalFileName
else:

    def overload(function):
        return function


_new = object.__new__
_HALVES = Struct(">II").unpack
_MAX = (1 << 64) - 1


class LSN(ModelField):
    """A position in the WAL: a byte address from 0 to 2⁶⁴−1, equivalent to ``pg_lsn``.

    LSNs compare with LSNs only: an LSN is neither an int, nor bytes, nor text, so no library takes
    it for one of these. To sort many, use ``sorted(lsns, key=int)``, which is several times as
    fast as ``sorted(lsns)``.

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

    # The eight big-endian bytes, not an int: parsing text is faster, the replication protocol
    # transports them, and they are ordered as ints are.
    __slots__ = ("_data",)
    __match_args__: ClassVar[tuple[()]] = ()

    _data: bytes

    INVALID: ClassVar[LSN]
    """``0/0``, the server's InvalidXLogRecPtr: no position."""
    MAX: ClassVar[LSN]
    """``FFFFFFFF/FFFFFFFF``, the highest position."""

    def __new__(cls, position: str | int, /) -> Self:
        if isinstance(position, str):
            # Most positions have a low half of eight digits: then one unhexlify validates both.
            if position[-9:-8] == "/" and 9 < len(position) < 18:
                digits = position.zfill(17).replace("/", "", 1)
            else:
                high, slash, low = position.partition("/")
                if not (slash and 0 < len(high) < 9 and 0 < len(low) < 9):
                    raise _refusal(position)
                digits = high.zfill(8) + low.zfill(8)
            try:
                data = unhexlify(digits)
            except ValueError:
                raise _refusal(position) from None
        elif type(position) is int:
            try:
                data = position.to_bytes(8, "big")
            except OverflowError:
                raise InvalidLSN(position, "it is outside 64 bits") from None
        else:
            raise TypeError(f"LSN() takes a str or int, not {type(position).__name__}")
        lsn = _new(cls)
        _set_data(lsn, data)
        return lsn

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
        lsn = _new(cls)
        _set_data(lsn, bytes(data))
        return lsn

    def to_bytes(self) -> bytes:
        """Encode the position as eight big-endian bytes, as in the replication protocol.

        >>> LSN("16/B374D848").to_bytes().hex()
        '00000016b374d848'
        """
        return self._data

    def offset_in(self, segment_size: AnySegmentSize) -> int:
        """Return the position's offset in bytes from the start of its segment.

        >>> from pgreplkit import SegmentSize
        >>> hex(LSN("4/DF75D0E0").offset_in(SegmentSize.DEFAULT))
        '0x75d0e0'
        """
        from pgreplkit.values.segment import segment_size_of

        return int(self) & (segment_size_of(segment_size).bytes - 1)

    def wal_file(self, *, timeline: int, segment_size: AnySegmentSize | None = None) -> WalFileName:
        """Return the WAL file that contains the byte at this position.

        Segments are 16 MiB by default. A position on a segment boundary belongs to the file that
        starts there. The server's pg_walfile_name() agrees from 17 on;
        ``pgreplkit.wal.pg_walfile_name`` follows the behaviour of a given server version.

        >>> print(LSN("4/DF75D0E0").wal_file(timeline=1))
        0000000100000004000000DF

        Raises:
            InvalidWalFileName: If the timeline is not between 1 and 2³²−1.
        """
        from pgreplkit import WalFileName

        if segment_size is None:
            return WalFileName.containing(self, timeline=timeline)
        return WalFileName.containing(self, timeline=timeline, segment_size=segment_size)

    def __eq__(self, other: object, /) -> bool:
        return self._data == other._data if isinstance(other, LSN) else NotImplemented

    def __lt__(self, other: LSN, /) -> bool:
        return self._data < other._data if isinstance(other, LSN) else NotImplemented

    def __le__(self, other: LSN, /) -> bool:
        return self._data <= other._data if isinstance(other, LSN) else NotImplemented

    def __gt__(self, other: LSN, /) -> bool:
        return self._data > other._data if isinstance(other, LSN) else NotImplemented

    def __ge__(self, other: LSN, /) -> bool:
        return self._data >= other._data if isinstance(other, LSN) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._data)

    def __int__(self) -> int:
        return int.from_bytes(self._data, "big")

    def __str__(self) -> str:
        return "%X/%X" % _HALVES(self._data)

    def __repr__(self) -> str:
        return "LSN('%X/%X')" % _HALVES(self._data)

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __add__(self, count: int, /) -> LSN:
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
            return int.from_bytes(self._data, "big") - int.from_bytes(other._data, "big")
        if type(other) is not int:
            return NotImplemented
        return _moved(self, -other)

    def __reduce__(self) -> tuple[type[LSN], tuple[str]]:
        return LSN, (str(self),)

    def __copy__(self) -> LSN:
        return self

    def __deepcopy__(self, memo: object) -> LSN:
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"could not set {name!r}: an LSN is immutable", name=name, obj=self)

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"could not delete {name!r}: an LSN is immutable", name=name, obj=self)


_set_data = LSN._data.__set__  # type: ignore[attr-defined, misc]


def trusted_lsn(data: bytes) -> LSN:
    """Return the LSN of eight bytes without checking them, for the loops that decode messages."""
    lsn = _new(LSN)
    _set_data(lsn, data)
    return lsn


def _moved(lsn: LSN, count: int) -> LSN:
    position = int(lsn) + count
    if 0 <= position <= _MAX:
        return trusted_lsn(position.to_bytes(8, "big"))
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
