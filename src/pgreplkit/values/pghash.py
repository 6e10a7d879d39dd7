"""The server's hash functions for text, integers and UUIDs, for hash partitions and PL/Proxy.

They are Jenkins's lookup3 with PostgreSQL's initial value, on a little-endian server. They have not
changed since 11; hash indexes and partitions of users' data depend on them.
"""

from __future__ import annotations

from struct import Struct
from uuid import UUID

from pgreplkit.errors import InvalidValue

PARTITION_SEED = 0x7A5B22367996DCFD
"""HASH_PARTITION_SEED of the server."""
_START = 0x9E3779B9 + 3923095
_WORD, _LONG = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_COMBINE = 0x49A0F4DD15E5A8E3
"""The constant of hash_combine64()."""
_THREE = Struct("<III").unpack_from

Key = str | int | UUID


def hash32(key: Key) -> int:
    """Return hashtext(), hashint8() or uuid_hash() of a key: a signed 32-bit number."""
    _, c = _hashed(key, 0)
    return c - (c >> 31 << 32)


def partition_hash(keys: tuple[Key | None, ...]) -> int:
    """Return the hash of a row's partition key, an unsigned 64-bit number; None is NULL."""
    row = 0
    for key in keys:
        # The server leaves out columns that are NULL.
        if key is not None:
            b, c = _hashed(key, PARTITION_SEED)
            row ^= ((b << 32 | c) + _COMBINE + (row << 54) + (row >> 7)) & _LONG
    return row


def _hashed(key: Key, seed: int) -> tuple[int, int]:
    """Return both words of a key's hash; the second is the hash of 32 bits."""
    if isinstance(key, str):
        return _of_bytes(_encoded(key), seed)
    if isinstance(key, UUID):
        return _of_bytes(key.bytes, seed)
    if not isinstance(key, int) or isinstance(key, bool):
        raise TypeError(f"a key must be a str, an int or a UUID, not {type(key).__name__}")
    if not -(1 << 63) <= key < 1 << 63:
        raise InvalidValue(key, "it is not within the range of bigint")
    # Numbers that fit into 4 bytes have the same hash as integer and as bigint.
    high = key >> 32 & _WORD
    word = (key ^ (high if key >= 0 else ~high)) & _WORD
    a = b = c = _START + 4 & _WORD
    if seed:
        a, b, c = _mixed(a + (seed >> 32) & _WORD, b + seed & _WORD, c)
    return _final(a + word & _WORD, b, c)


def _encoded(text: str) -> bytes:
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(text, "it has a lone surrogate, which no text in UTF-8 has") from error
    if b"\0" in content:
        raise InvalidValue(text, "it has a zero byte, which no text of a server has")
    return content


def _of_bytes(content: bytes, seed: int) -> tuple[int, int]:
    length = len(content)
    a = b = c = _START + length & _WORD
    if seed:
        a, b, c = _mixed(a + (seed >> 32) & _WORD, b + seed & _WORD, c)
    whole = length - length % 12
    for offset in range(0, whole, 12):
        one, two, three = _THREE(content, offset)
        a, b, c = _mixed(a + one & _WORD, b + two & _WORD, c + three & _WORD)
    one, two, three = _THREE(content[whole:].ljust(12, b"\0"))
    # The lowest byte of the third word is reserved for the length.
    return _final(a + one & _WORD, b + two & _WORD, c + (three << 8) & _WORD)


def _mixed(a: int, b: int, c: int) -> tuple[int, int, int]:
    a = (a - c ^ (c << 4 | c >> 28)) & _WORD
    c = c + b & _WORD
    b = (b - a ^ (a << 6 | a >> 26)) & _WORD
    a = a + c & _WORD
    c = (c - b ^ (b << 8 | b >> 24)) & _WORD
    b = b + a & _WORD
    a = (a - c ^ (c << 16 | c >> 16)) & _WORD
    c = c + b & _WORD
    b = (b - a ^ (a << 19 | a >> 13)) & _WORD
    a = a + c & _WORD
    c = (c - b ^ (b << 4 | b >> 28)) & _WORD
    return a, b + a & _WORD, c


def _final(a: int, b: int, c: int) -> tuple[int, int]:
    c = (c ^ b) - (b << 14 | b >> 18) & _WORD
    a = (a ^ c) - (c << 11 | c >> 21) & _WORD
    b = (b ^ a) - (a << 25 | a >> 7) & _WORD
    c = (c ^ b) - (b << 16 | b >> 16) & _WORD
    a = (a ^ c) - (c << 4 | c >> 28) & _WORD
    b = (b ^ a) - (a << 14 | a >> 18) & _WORD
    return b, (c ^ b) - (b << 24 | b >> 8) & _WORD
