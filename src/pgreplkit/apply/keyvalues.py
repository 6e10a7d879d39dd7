"""Values of keys: whether two spellings, as 1.0 and 1.00, are one value."""

from __future__ import annotations

import math
import struct
from decimal import Decimal

from pgreplkit.catalog.logical.keytypes import FLOAT4, FLOAT8, NUMERIC
from pgreplkit.protocol.pgoutput.tuples import BINARY, Octets

_FLOATS = {FLOAT4: struct.Struct(">f"), FLOAT8: struct.Struct(">d")}
_SCALE = slice(6, 8)
"""The place of the number of shown digits in the binary form of numeric."""


def is_one_value(type_oid: int, old: tuple[Octets, int], new: tuple[Octets, int]) -> bool:
    """Return whether two values of a key, each with its format, are equal as the server compares.

    ``type_oid`` is the type of which a domain is. Values of other types than numbers are equal if
    their bytes are.
    """
    (first, how), (second, how_second) = old, new
    if first == second and how == how_second:
        return True
    if first is None or second is None or how != how_second:
        return False
    if type_oid == NUMERIC:
        if how == BINARY:
            return _without_scale(first) == _without_scale(second)
        return Decimal(first.decode()) == Decimal(second.decode())
    if type_oid in _FLOATS:
        a, b = _float(type_oid, first, how), _float(type_oid, second, how)
        return a == b or (math.isnan(a) and math.isnan(b))
    return False


def _without_scale(value: bytes) -> bytes:
    return value[: _SCALE.start] + value[_SCALE.stop :]


def _float(type_oid: int, value: bytes, how: int) -> float:
    if how == BINARY:
        number: float = _FLOATS[type_oid].unpack(value)[0]
        return number
    return float(value)
