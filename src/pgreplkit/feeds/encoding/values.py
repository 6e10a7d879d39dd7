"""Values as JSON, made of the texts that the server sends, without Python values between."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from json.encoder import encode_basestring
from typing import TypeAlias

from pgreplkit.protocol.pgoutput.tables import Column

ToJson: TypeAlias = Callable[[bytes], str]
"""Returns the JSON of a value. Raises ValueError for a text that is not one of its type."""

_TYPES = """
    bool:16:1000 bytea:17:1001 char:18:1002 name:19:1003 int8:20:1016 int2:21:1005 int4:23:1007
    text:25:1009 oid:26:1028 tid:27:1010 xid:28:1011 cid:29:1012 json:114:199 xml:142:143
    point:600:1017 lseg:601:1018 path:602:1019 box:603:1020 polygon:604:1027 line:628:629
    cidr:650:651 float4:700:1021 float8:701:1022 circle:718:719 macaddr8:774:775 money:790:791
    macaddr:829:1040 inet:869:1041 bpchar:1042:1014 varchar:1043:1015 date:1082:1182
    time:1083:1183 timestamp:1114:1115 timestamptz:1184:1185 interval:1186:1187 timetz:1266:1270
    bit:1560:1561 varbit:1562:1563 numeric:1700:1231 uuid:2950:2951 pg_lsn:3220:3221
    tsvector:3614:3643 tsquery:3615:3645 jsonb:3802:3807 int4range:3904:3905 numrange:3906:3907
    tsrange:3908:3909 tstzrange:3910:3911 daterange:3912:3913 int8range:3926:3927
    jsonpath:4072:4073 int4multirange:4451:6150 nummultirange:4532:6151 tsmultirange:4533:6152
    tstzmultirange:4534:6153 datemultirange:4535:6155 int8multirange:4536:6157 xid8:5069:271
"""
"""The built-in types, with the OID of each and of its array type."""
_NAMES: Mapping[int, str] = {
    int(oid): name
    for scalar, one, array in (entry.split(":") for entry in _TYPES.split())
    for oid, name in ((one, scalar), (array, f"_{scalar}"))
}
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_INTEGER, _ZERO = re.compile(rb"-?(?:0|[1-9][0-9]*)"), ord("0")
_BOOLS = {b"t": "true", b"f": "false"}
_OCTAL = re.compile(rb"\\(?:([0-7]{3})|\\)")
_TIME = re.compile(
    r"(?:(?P<year>\d{4,})-(?P<month>\d\d)-(?P<day>\d\d))?[ T]?"
    r"(?:(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d{1,6}))?)?"
    r"(?P<zone>[+-]\d\d(?::\d\d(?::\d\d)?)?)?(?P<bc> BC)?",
    re.ASCII,
)
_ELEMENT, _BOX = (
    re.compile(rf'"((?:[^"\\]|\\.)*)"|([^{{}}{delimiter}"\\]+)|([{{}}{delimiter}])', re.DOTALL)
    for delimiter in ",;"
)
"""The parts of an array: only the boxes among the built-in types are separated by semicolons."""
usual: Callable[[bytes], re.Match[bytes] | None] = re.compile(
    rb"\d{4}-\d\d-\d\d(?: \d\d:\d\d:\d\d(?:\.\d{1,6})?)?(?P<zone>\+00)?"
).fullmatch
"""Matches almost all dates and times, for which there are fast ways."""
_EPOCH = datetime(1970, 1, 1)
_FROM_1970_TO_2000 = 946_684_800_000_000
_MICROSECONDS_A_DAY = 86_400_000_000
_DAYS_TO_1970 = 719_468
"""Days from 0000-03-01 to 1970-01-01, in the calendar whose years begin in March."""


def builtin_name(column: Column) -> str | None:
    """Return the name of a column's built-in type, or of that below its domain.

    The name of an array type begins with ``_``. None for a type of an extension or a user.
    """
    own = column.type_name
    if own is None:
        return _NAMES.get(column.type_oid)
    return own.name if own.schema == "pg_catalog" else None


def text(value: bytes) -> str:
    """Return a text as a JSON string. Raises: UnicodeDecodeError."""
    return encode_basestring(value.decode())


def number(value: bytes) -> str:
    """Return a number as it is; NaN and the infinities, which JSON lacks, as strings."""
    return value.decode() if _NUMBER.fullmatch(value) else text(value)


def integer(value: bytes) -> str:
    """Return an integer as it is."""
    # Checked, although the server sends no other: an encoder may be given a type of the wrong OID,
    # and any other text would make the JSON of the whole row invalid.
    if not (value.isdigit() and value[0] != _ZERO) and not _INTEGER.fullmatch(value):
        raise ValueError("it is not an integer")
    return value.decode()


def boolean(value: bytes) -> str:
    """Return true or false."""
    try:
        return _BOOLS[value]
    except KeyError:
        raise ValueError("it is not a boolean") from None


def octets(value: bytes) -> bytes:
    """Return the bytes of a bytea, in the form of either setting of bytea_output."""
    if value.startswith(b"\\x"):
        return bytes.fromhex(value[2:].decode())
    return _OCTAL.sub(lambda found: bytes([int(found[1], 8)]) if found[1] else b"\\", value)


def base64(value: bytes) -> str:
    """Return a bytea as a string in Base64."""
    return f'"{b64encode(octets(value)).decode()}"'


def embedded(value: bytes) -> str:
    """Return JSON as it is; the server has checked it. Raises: UnicodeDecodeError."""
    return value.decode()


def iso(value: bytes) -> str:
    """Return a date or time as ISO 8601 writes it; with a zone, in UTC.

    ``infinity`` and ``-infinity`` stay. Years before 1 are negative, as in ``-0043-03-15``.
    """
    # Almost all values have this form, and it is the fast one.
    if fast := usual(value):
        written = value.decode().replace(" ", "T")
        return f'"{written[:-3]}Z"' if fast["zone"] else f'"{written}"'
    if value.endswith(b"infinity"):
        return text(value)
    found = _parsed(value)
    if found["zone"] and found["year"]:
        return f'"{instant(microseconds(value))}"'
    written = value.decode().removesuffix(" BC").replace(" ", "T")
    if found["bc"]:
        written = f"-{int(found['year']) - 1:04}{written[len(found['year']) :]}"
    elif found["year"] and len(found["year"]) > 4:
        written = f"+{written}"
    # A zone of hours only, as in +02: ISO 8601 wants the minutes.
    if found["zone"] and written[-3] in "+-":
        written += ":00"
    return f'"{written}"'


def micros(value: bytes) -> str:
    """Return microseconds since 1970-01-01, or since midnight; the infinities as strings."""
    return text(value) if value.endswith(b"infinity") else str(microseconds(value))


def microseconds(value: bytes) -> int:
    """Return microseconds since 1970-01-01, or since midnight for a time of day; in UTC.

    It works for each year that PostgreSQL has, and Python's datetime does not.
    """
    if usual(value):
        try:
            since = datetime.fromisoformat(value.removesuffix(b"+00").decode()) - _EPOCH
        # The form is usual, the year is not: datetime ends at 9999.
        except ValueError:
            pass
        else:
            return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    found = _parsed(value)
    total = 0
    if found["year"]:
        year = 1 - int(found["year"]) if found["bc"] else int(found["year"])
        total = _days(year, int(found["month"]), int(found["day"])) * 86_400
    if found["hour"]:
        total += int(found["hour"]) * 3600 + int(found["minute"]) * 60 + int(found["second"])
    if zone := found["zone"]:
        parts = [int(part) for part in zone[1:].split(":")]
        offset = sum(part * 60 ** (2 - place) for place, part in enumerate(parts))
        total += offset if zone[0] == "-" else -offset
    return total * 1_000_000 + int(found["fraction"].ljust(6, "0"))


def _parsed(value: bytes) -> Mapping[str, str]:
    """Return the parts of a date or time; "" for those that it lacks."""
    found = _TIME.fullmatch(value.decode())
    if found is None or not value:
        raise ValueError("it is not a date or time in the ISO format")
    return found.groupdict(default="")


def _days(year: int, month: int, day: int) -> int:
    """Return the days since 1970-01-01 in the Gregorian calendar, for any year."""
    # With years that begin in March, the leap day is a year's last.
    year -= month <= 2
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + of_year - _DAYS_TO_1970


@lru_cache(maxsize=64)
def _date(days_since: int) -> str:
    """Return the date that number of days after 1970-01-01; the inverse of ``_days``."""
    # The Gregorian calendar repeats every 400 years, which have 146,097 days; the other numbers are
    # the days of 4 and of 100 years.
    era, of_era = divmod(days_since + _DAYS_TO_1970, 146_097)
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * of_year + 2) // 153
    day = of_year - (153 * month_from_march + 2) // 5 + 1
    month = (month_from_march + 2) % 12 + 1
    year = year_of_era + era * 400 + (month <= 2)
    sign = "-" if year < 0 else "+" if year > 9999 else ""
    return f"{sign}{abs(year):04}-{month:02}-{day:02}"


def instant(since_1970: int) -> str:
    """Return microseconds since 1970-01-01 as a time in UTC, as ISO 8601 writes it."""
    day, of_day = divmod(since_1970, _MICROSECONDS_A_DAY)
    seconds, fraction = divmod(of_day, 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    written = f"{_date(day)}T{hour:02}:{minute:02}:{second:02}"
    return f"{written}.{fraction:06}".rstrip("0") + "Z" if fraction else f"{written}Z"


def commit_micros(since_2000: int) -> int:
    """Return the microseconds since 1970-01-01 of a commit time, which counts from 2000.

    It is 0 where there is no commit: rows that existed before, messages outside of a transaction.
    """
    return since_2000 + _FROM_1970_TO_2000 if since_2000 else 0


def array_of(element: ToJson, parts_of: re.Pattern[str] = _ELEMENT) -> ToJson:
    """Return a function for arrays: as JSON arrays, nested if they have several dimensions.

    JSON has no lower bounds: those other than 1 are lost.
    """

    def convert(value: bytes) -> str:
        written = value.decode()
        # Other lower bounds are written before the elements: [0:1]={1,2}.
        at = written.index("{") if written.startswith("[") else 0
        parts: list[str] = []
        for quoted, bare, mark in parts_of.findall(written, at):
            if mark:
                parts.append({"{": "[", "}": "]"}.get(mark, ","))
            elif bare == "NULL":
                parts.append("null")
            else:
                plain = bare or re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
                parts.append(element(plain.encode()))
        return "".join(parts)

    return convert


def converter(column: Column, rules: Mapping[str, ToJson]) -> ToJson:
    """Return the function for the JSON of a column's values; without a rule, it is a string."""
    name = builtin_name(column)
    if name is None:
        return text
    if name.startswith("_"):
        return array_of(rules.get(name[1:], text), _BOX if name == "_box" else _ELEMENT)
    return rules.get(name, text)


_ALWAYS: Mapping[str, ToJson] = {
    "bool": boolean,
    "bytea": base64,
    "float4": number,
    "float8": number,
    **dict.fromkeys(("int2", "int4", "int8", "oid", "xid", "cid"), integer),
}
_TIMES = ("date", "time", "timetz", "timestamp", "timestamptz")
_BY_TIMES = {
    "iso": dict.fromkeys(_TIMES, iso),
    # A time of day without a date has no instant: its zone would be lost in a number.
    "micros": dict.fromkeys(_TIMES, micros) | {"timetz": iso},
}
_BY_JSON = {"embedded": embedded, "text": text}


def rules_of(times: str, json: str) -> Mapping[str, ToJson]:
    """Return the rules of the built-in types that do not become strings.

    Raises: ValueError.
    """
    for argument, given, known in (("times", times, _BY_TIMES), ("json", json, _BY_JSON)):
        if given not in known:
            raise ValueError(f"{argument} must be one of {', '.join(known)}, got {given!r}")
    as_json = _BY_JSON[json]
    return {**_ALWAYS, **_BY_TIMES[times], "json": as_json, "jsonb": as_json}
