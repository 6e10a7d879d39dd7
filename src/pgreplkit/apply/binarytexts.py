"""binary_text: the text of a value that was sent in binary, as the server itself writes it."""

from __future__ import annotations

import ipaddress
import re
import struct
import uuid
from collections.abc import Callable, Iterator

_EPOCH = 2451545
"""The Julian day of 2000-01-01."""
_DAY = 86_400_000_000
"""Microseconds."""
_ENDS = {"i": 2**31 - 1, "q": 2**63 - 1}
"""The largest number of each size, which stands for infinity."""
_SPECIAL = re.compile(r'[{}",\\ \t\n\v\f\r]|\A\Z|\Anull\Z', re.IGNORECASE)
"""Elements of arrays that the server quotes; other spaces of Unicode are letters to it."""
_DIGITS = 4
"""Decimal digits in one digit of a numeric."""


def binary_text(type_oid: int, value: bytes) -> str:
    """Return the text of a value of a built-in type, for times in UTC; bytes of others.

    >>> binary_text(1082, (8766).to_bytes(4, "big"))
    '2024-01-01'
    """
    write = _WRITERS.get(type_oid, _bytes)
    return write(value)


def _bytes(value: bytes) -> str:
    return "\\x" + value.hex()


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _number(value: bytes) -> str:
    return str(int.from_bytes(value, "big", signed=True))


def _float(value: bytes) -> str:
    [number] = struct.unpack(">f" if len(value) == 4 else ">d", value)
    if number != number:
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "Infinity" if number > 0 else "-Infinity"
    places = range(1, 10) if len(value) == 4 else range(1, 18)
    # The fewest digits that are read as the same number.
    for digits in places:
        text = f"{number:.{digits - 1}e}"
        if struct.pack(">f" if len(value) == 4 else ">d", float(text)) == value:
            break
    mantissa, _, power = text.partition("e")
    exponent = int(power)
    # The server writes larger and smaller numbers with an exponent.
    if not -4 <= exponent < (6 if len(value) == 4 else 15):
        return f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
    return f"{float(text):.{max(0, len(mantissa.lstrip('-').replace('.', '')) - 1 - exponent)}f}"


def _numeric(value: bytes) -> str:
    count, weight, sign, scale = struct.unpack(">HhHH", value[:8])
    if word := {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}.get(sign):
        return word
    groups = [f"{group:04}" for group in struct.unpack(f">{count}H", value[8:])]
    # Groups of zeros at both ends are not sent.
    whole = "".join(groups[: max(weight + 1, 0)]).ljust(_DIGITS * (weight + 1), "0")
    rest = "0" * (_DIGITS * (-weight - 1)) + "".join(groups[max(weight + 1, 0) :])
    text = whole.lstrip("0") or "0"
    if scale:
        text += "." + rest[:scale].ljust(scale, "0")
    return ("-" if sign == 0x4000 else "") + text


def _infinity(value: bytes) -> str:
    size = "i" if len(value) == 4 else "q"
    [number] = struct.unpack(f">{size}", value)
    return {_ENDS[size]: "infinity", -_ENDS[size] - 1: "-infinity"}.get(number, "")


def _day(number: int) -> tuple[str, str]:
    """Return the date of a day after 2000-01-01, and BC or nothing."""
    # By the algorithm for Julian days: Python's dates end at the years 1 and 9999.
    rest = number + _EPOCH + 32044
    centuries, rest = divmod(4 * rest + 3, 146097)
    years, rest = divmod(4 * (rest // 4) + 3, 1461)
    months, rest = divmod(5 * (rest // 4) + 2, 153)
    year = 100 * centuries + years - 4800 + months // 10
    month, day = months + 3 - 12 * (months // 10), rest // 5 + 1
    era = "" if year > 0 else " BC"
    return f"{year if year > 0 else 1 - year:04}-{month:02}-{day:02}", era


def _clock(microseconds: int) -> str:
    seconds, fraction = divmod(microseconds, 1_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return text + (f".{fraction:06}".rstrip("0") if fraction else "")


def _date(value: bytes) -> str:
    return _infinity(value) or "".join(_day(int.from_bytes(value, "big", signed=True)))


def _timestamp(value: bytes, zone: str = "") -> str:
    if word := _infinity(value):
        return word
    days, microseconds = divmod(int.from_bytes(value, "big", signed=True), _DAY)
    day, era = _day(days)
    return f"{day} {_clock(microseconds)}{zone}{era}"


def _timestamptz(value: bytes) -> str:
    return _timestamp(value, "+00")


def _time(value: bytes) -> str:
    return _clock(int.from_bytes(value, "big"))


def _timetz(value: bytes) -> str:
    microseconds, west = struct.unpack(">qi", value)
    seconds = abs(west)
    zone = f"{'-' if west > 0 else '+'}{seconds // 3600:02}"
    parts = [seconds // 60 % 60, seconds % 60]
    while parts and not parts[-1]:
        parts.pop()
    return _clock(microseconds) + zone + "".join(f":{part:02}" for part in parts)


def _interval(value: bytes) -> str:
    microseconds, days, months = struct.unpack(">qii", value)
    last, largest = _ENDS["q"], _ENDS["i"]
    if (microseconds, days, months) == (last, largest, largest):
        return "infinity"
    if (microseconds, days, months) == (-last - 1, -largest - 1, -largest - 1):
        return "-infinity"
    sign = -1 if months < 0 else 1
    parts, is_before = list[str](), False
    for number, unit in (
        (abs(months) // 12 * sign, "year"),
        (abs(months) % 12 * sign, "mon"),
        (days, "day"),
    ):
        if number:
            plus = "+" if is_before and number > 0 else ""
            parts.append(f"{plus}{number} {unit}{'' if number == 1 else 's'}")
            is_before = number < 0
    if microseconds or not parts:
        mark = "-" if microseconds < 0 else "+" if is_before else ""
        parts.append(mark + _clock(abs(microseconds)))
    return " ".join(parts)


def _bits(value: bytes) -> str:
    length = int.from_bytes(value[:4], "big")
    return "".join(f"{byte:08b}" for byte in value[4:])[:length]


def _address(value: bytes) -> str:
    _, bits, is_cidr, size = value[:4]
    packed = value[4 : 4 + size]
    address = str(ipaddress.ip_address(packed))
    # The server writes an IPv4 address within one of IPv6 as such.
    if size == 16 and packed[:10] == bytes(10):
        words = packed[10:12], packed[12:14]
        if words[0] == b"\xff\xff" or (words[0] == bytes(2) and words[1] != bytes(2)):
            mapped = "ffff:" if words[0] == b"\xff\xff" else ""
            address = f"::{mapped}{ipaddress.ip_address(packed[12:])}"
    # An address of the type inet without a network has no mask.
    return address if bits == 8 * size and not is_cidr else f"{address}/{bits}"


def _mac(value: bytes) -> str:
    return value.hex(":")


def _array(value: bytes) -> str:
    dimensions, _, type_oid = struct.unpack(">iii", value[:12])
    if not dimensions:
        return "{}"
    shape = [struct.unpack(">ii", value[at : at + 8]) for at in range(12, 12 + 8 * dimensions, 8)]
    items = _elements(value[12 + 8 * dimensions :], type_oid)
    bounds = "".join(f"[{low}:{low + size - 1}]" for size, low in shape)
    text = _braces([size for size, _ in shape], items)
    return text if all(low == 1 for _, low in shape) else f"{bounds}={text}"


def _elements(value: bytes, type_oid: int) -> Iterator[str]:
    at = 0
    while at < len(value):
        size = int.from_bytes(value[at : at + 4], "big", signed=True)
        at += 4
        if size < 0:
            yield "NULL"
            continue
        element = value[at : at + size]
        at += size
        text = binary_text(type_oid, element)
        if _SPECIAL.search(text):
            text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        yield text


def _braces(sizes: list[int], items: Iterator[str]) -> str:
    size, *inner = sizes
    parts = (_braces(inner, items) if inner else next(items) for _ in range(size))
    return f"{{{','.join(parts)}}}"


_ARRAYS = {
    *(1000, 1001, 1002, 1003, 1016, 1005, 1007, 1009, 1028, 199, 143, 1021, 1022, 1040, 775),
    *(1041, 651, 1014, 1015, 1182, 1183, 1115, 1185, 1187, 1270, 1561, 1563, 1231, 2951, 3807),
}
_WRITERS: dict[int, Callable[[bytes], str]] = {
    16: lambda value: "t" if value[0] else "f",
    **dict.fromkeys((18, 19, 25, 114, 142, 1042, 1043), _text),
    **dict.fromkeys((20, 21, 23), _number),
    26: lambda value: str(int.from_bytes(value, "big")),
    **dict.fromkeys((700, 701), _float),
    **dict.fromkeys((774, 829), _mac),
    **dict.fromkeys((650, 869), _address),
    1082: _date,
    1083: _time,
    1114: _timestamp,
    1184: _timestamptz,
    1186: _interval,
    1266: _timetz,
    **dict.fromkeys((1560, 1562), _bits),
    1700: _numeric,
    2950: lambda value: str(uuid.UUID(bytes=value)),
    3802: lambda value: _text(value[1:]),
    **dict.fromkeys(_ARRAYS, _array),
}
