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
    """A position in the WAL: a byte address from 0 to 2⁶⁴−1, as the server's ``pg_lsn``.

    An LSN is its own eight big-endian bytes, because then comparing and sorting are
    done by ``bytes`` itself, as fast as for ints. Nothing else of ``bytes`` is offered:
    it has no items, and is equal to no int.

    ==============  ======================================================
    ``LSN(text)``   accepted exactly when the server's ``pg_lsn`` accepts it
    ``LSN(int)``    from 0 to 2⁶⁴−1
    ``str(lsn)``    the server's own form, as in ``16/B374D848``
    ``lsn - lsn``   an ``int`` of bytes, negative when the right one is ahead
    ``lsn + int``   an LSN, as ``lsn - int``; leaving the range raises
    ==============  ======================================================

    >>> lsn = LSN("16/B374D848")
    >>> int(lsn), str(lsn + 0x7B8)
    (97500059720, '16/B374E000')
    >>> lsn - LSN("16/B3000000")
    7657544
    >>> LSN("9/0") < LSN("10/0")
    True

    Raises: InvalidLSN for other text, and for a position outside the range; TypeError for
    floats, bools and other types.  Source: the type pg_lsn.
    """

    __slots__ = ()
    __match_args__: ClassVar[tuple[()]] = ()

    INVALID: ClassVar[LSN]
    """``0/0``, which the server uses for "no position"."""
    MAX: ClassVar[LSN]
    """``FFFFFFFF/FFFFFFFF``, the last position there can be."""

    def __new__(cls, position: str | int, /) -> Self:
        if isinstance(position, str):
            # Most positions have a low half of eight digits: then one unhexlify checks all of it.
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
                raise InvalidLSN(position, "it is outside the 64 bits of a position") from None
        raise TypeError(f"an LSN is made from str or int, not {type(position).__name__}")

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, /) -> Self:
        """The LSN in eight big-endian bytes, as the replication protocol sends it.

        >>> LSN.from_bytes(bytes.fromhex("00000016B374D848"))
        LSN('16/B374D848')

        Raises: InvalidLSN when it is not eight bytes; TypeError when it is not bytes.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"an LSN's bytes are bytes, not {type(data).__name__}")
        if memoryview(data).nbytes != 8:
            raise InvalidLSN(bytes(data), "an LSN is 8 bytes")
        return _new(cls, data)

    def to_bytes(self) -> bytes:
        """Eight big-endian bytes, as the replication protocol takes them.

        >>> LSN("16/B374D848").to_bytes().hex()
        '00000016b374d848'
        """
        return _new(bytes, self)

    def offset_in(self, segment_size: SegmentSize) -> int:
        """How many bytes this position is from the start of its segment.

        >>> from pgreplkit import SegmentSize
        >>> hex(LSN("4/DF75D0E0").offset_in(SegmentSize.DEFAULT))
        '0x75d0e0'
        """
        return int(self) & (int(segment_size) - 1)

    def wal_file(self, *, timeline: int, segment_size: SegmentSize | None = None) -> WalFileName:
        """The WAL file that the byte at this position is in; segments of 16 MiB unless told.

        A position on a segment's boundary belongs to the file that starts there. The server's
        own pg_walfile_name says so from 17 on; ``pgreplkit.pg_walfile_name`` answers as a named
        server major does.

        >>> print(LSN("4/DF75D0E0").wal_file(timeline=1))
        0000000100000004000000DF

        Raises: InvalidWalFileName for a timeline outside 1…2³²−1.
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

    # bytes is how an LSN is kept, not what it is: it has no items. It does have the length of its
    # bytes, because much code asks every bytes for it, such as pytest for the name of a parameter.
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
        raise TypeError("an LSN has no remainder; see offset_in")


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
        reason = "there is no '/' in it"
    elif not high or not low:
        reason = "one of its parts is empty"
    elif "/" in low:
        reason = "there is more than one '/' in it"
    elif len(high) > 8 or len(low) > 8:
        reason = "one of its parts has more than 8 digits"
    else:
        reason = "one of its characters is not a hex digit"
    return InvalidLSN(text, reason)


LSN.INVALID = LSN(0)
LSN.MAX = LSN(_MAX)
