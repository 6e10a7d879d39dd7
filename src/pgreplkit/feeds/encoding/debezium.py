"""DebeziumJson: changes in the envelope of Debezium's connector for PostgreSQL."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Literal

import attrs

from pgreplkit.feeds.change import FeedChange, FeedOperation, FeedSource
from pgreplkit.feeds.destinations import Destination, Destinations
from pgreplkit.feeds.encoding.plain import ROWS, Messages
from pgreplkit.feeds.encoding.rows import RowForm, RowOptions, failed
from pgreplkit.feeds.encoding.tables import RowEncoding
from pgreplkit.feeds.encoding.values import (
    ToJson,
    builtin_name,
    commit_micros,
    converter,
    iso,
    microseconds,
    rules_of,
    text,
    usual,
)
from pgreplkit.feeds.message import FeedMessage
from pgreplkit.protocol.pgoutput.tables import Column, Table
from pgreplkit.values.flags import checked_flags

# Names of their own: the look-up of an enum's member takes time for each change.
_MESSAGE, _TRUNCATE = FeedOperation.MESSAGE, FeedOperation.TRUNCATE
_DELETE, _READ = FeedOperation.DELETE, FeedOperation.READ
_LETTERS = {
    FeedOperation.INSERT: "c",
    FeedOperation.UPDATE: "u",
    FeedOperation.DELETE: "d",
    FeedOperation.TRUNCATE: "t",
    FeedOperation.MESSAGE: "m",
    FeedOperation.READ: "r",
}
UNAVAILABLE = "__debezium_unavailable_value"
"""What Debezium's consumers expect instead of a large value that an UPDATE did not change."""
_INTERVAL = re.compile(
    r"(?:(?P<years>[+-]?\d+) years? ?)?(?:(?P<months>[+-]?\d+) mons? ?)?"
    r"(?:(?P<days>[+-]?\d+) days? ?)?"
    r"(?:(?P<sign>[+-]?)(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d)(?P<fraction>\.\d+)?)?",
    re.ASCII,
)
_DOLLARS = re.compile(rb"-?\$[0-9,]+\.[0-9]{2}")
_INFINITIES = {b"infinity": "9223372036825200000", b"-infinity": "-9223372036832400000"}
"""The microseconds that Debezium sends instead of an infinite time."""
_WHOLE_INSTANT = len("2026-02-28 12:34:56.123456+00")
_MILLISECONDS = range(4)
"""Precisions of times that Debezium sends in milliseconds; it sends the others in microseconds."""


class DebeziumJson:
    """Encodes changes as Debezium's connector for PostgreSQL does, in JSON without schemas.

    Values are those of ``decimal.handling.mode=string`` and ``interval.handling.mode=string``.
    ``name`` is Debezium's ``topic.prefix``, by default the name of the feed. The times ``ts_ms``,
    ``ts_us`` and ``ts_ns`` of the envelope are the commit time, so that a change which is sent
    again is the same message. The other arguments are those of PlainJson.

    Raises: InvalidDestination; TypeError; ValueError.
    """

    def __init__(
        self,
        destination: Destination = ROWS,
        *,
        name: str | None = None,
        messages: str = "cdc.{db}.message",
        fill: Literal["none", "old"] = "old",
        tombstones: bool = True,
        keys: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        checked_flags(tombstones=tombstones)
        self._name = name
        self._encoding: RowEncoding[_Constant] = RowEncoding(
            RowOptions(fill=fill, tombstones=tombstones, keys=keys),
            Destinations(destination, messages),
            _converter,
            self._prepared,
        )

    def encode(self, change: FeedChange) -> Messages:
        """Return the messages of a change.

        Raises: EncodingFailed for values that cannot be encoded.
        """
        encoding, operation = self._encoding, change.operation
        if operation is _MESSAGE:
            return self._message(change)
        if operation is _TRUNCATE:
            return [
                FeedMessage(
                    encoding.destination(change, prepared),
                    None,
                    _envelope(change, prepared.constant.source, "null", "null").encode(),
                )
                for prepared in (encoding.of(change, table) for table in change.tables)
            ]
        try:
            prepared = encoding.of(change, change.tables[0])
            form, source = prepared.form, prepared.constant.source
            destination = prepared.destination or encoding.destination(change, prepared)
            old = change.old
            if operation is _DELETE:
                return self._gone(change, form, source, destination, form.key(old), ())
            after, key, unchanged = form.written(change, prepared.constant.placeholders)
            former = None if old is None else form.key(old)
            if former is None or former == key:
                # The server sends an unchanged key if it is large; Debezium makes no old row of it.
                before = "null" if old is None or change.is_key_only else form.row(old)
                body = _envelope(change, source, before, after, unchanged)
                return FeedMessage(destination, key, body.encode())
            # As Debezium does: the old key ends, and the new one begins.
            gone = self._gone(change, form, source, destination, former, _moved("newkey", key))
            body = _envelope(change, source, "null", after, unchanged, letter="c")
            begun = FeedMessage(destination, key, body.encode(), _moved("oldkey", former))
            return (*gone, begun)
        except ValueError as error:
            raise failed(change, change.table, error) from error

    def _gone(
        self,
        change: FeedChange,
        form: RowForm,
        source: _Source,
        destination: str,
        key: bytes | None,
        headers: tuple[tuple[str, str], ...],
    ) -> tuple[FeedMessage, ...]:
        body = _envelope(change, source, _old(change, form), "null", letter="d")
        message = FeedMessage(destination, key, body.encode(), headers)
        if key is None or not form.has_tombstones:
            return (message,)
        return message, FeedMessage(destination, key, None)

    def _message(self, change: FeedChange) -> FeedMessage:
        prefix = encode_basestring(change.prefix)
        content = b64encode(change.content).decode()
        first, last, _ = _Source(change.source, self._name, "", "").parts(change)
        # A message of no transaction has no commit time: then it is 0.
        time = commit_micros(change.microseconds) // 1000
        body = (
            f'{{"op":"m","ts_ms":{time},"source":{first}{change.number}{last},'
            f'"transaction":null,"message":{{"prefix":{prefix},"content":"{content}"}}}}'
        )
        destination = self._encoding.destinations.of(change, None)
        return FeedMessage(destination, f'{{"prefix":{prefix}}}'.encode(), body.encode())

    def _prepared(self, source: FeedSource, table: Table) -> _Constant:
        return _Constant(
            _Source(source, self._name, table.schema, table.name),
            tuple(_placeholder(column) for column in table.columns),
        )


class _Source:
    """The source of a table's envelopes: JSON that is complete but for the change's number."""

    __slots__ = ("_database", "_last", "_origin", "_table")

    def __init__(self, source: FeedSource, name: str | None, schema: str, table: str) -> None:
        named = encode_basestring(source.feed if name is None else name)
        # No version number: a change that is sent again stays the same message.
        self._origin = f'"version":"pgreplkit","connector":"postgresql","name":{named}'
        self._database = f'"db":{encode_basestring(source.database)}'
        self._table = f'"schema":{encode_basestring(schema)},"table":{encode_basestring(table)}'
        self._last: tuple[tuple[object, ...], tuple[str, str, str]] | None = None

    def parts(self, change: FeedChange) -> tuple[str, str, str]:
        """Return the JSON around the number of the change: before it, behind it, and the times.

        It is made once for each transaction.
        """
        # The changes of a transaction share these objects: comparing them takes next to no time.
        is_read = change.operation is _READ
        shared = (change.lsn, change.xid, change.microseconds, change.origin, is_read)
        last = self._last
        if last is None or last[0] != shared:
            last = self._last = shared, self._made(change)
        return last[1]

    def _made(self, change: FeedChange) -> tuple[str, str, str]:
        time, lsn, origin = commit_micros(change.microseconds), int(change.lsn), change.origin
        is_snapshot = "true" if change.operation is _READ else "false"
        named = "null" if origin is None else encode_basestring(origin)
        # Debezium writes positions of events; here the pair of commit and number orders the
        # changes.
        return (
            f'{{{self._origin},"ts_ms":{time // 1000},"snapshot":"{is_snapshot}",{self._database},'
            f'"sequence":"[\\"{lsn}\\",\\"',
            f'\\"]","ts_us":{time},"ts_ns":{time * 1000},'
            f'{self._table},"txId":{change.xid or "null"},"lsn":{lsn},"xmin":null,'
            f'"origin":{named},"origin_lsn":null}}',
            f'"ts_ms":{time // 1000},"ts_us":{time},"ts_ns":{time * 1000}',
        )


@attrs.frozen
class _Constant:
    """The parts that are the same for all changes of a table."""

    source: _Source
    placeholders: tuple[str, ...]


def _envelope(
    change: FeedChange,
    source: _Source,
    before: str,
    after: str,
    unchanged: str = "",
    *,
    letter: str | None = None,
) -> str:
    first, last, times = source.parts(change)
    names = f',"unchanged":{unchanged}' if unchanged else ""
    return (
        f'{{"before":{before},"after":{after},"source":{first}{change.number}{last},'
        f'"transaction":null,"op":"{letter or _LETTERS[change.operation]}",{times}{names}}}'
    )


def _old(change: FeedChange, form: RowForm) -> str:
    """Return the old row; with NULL in the columns that the server did not send."""
    return "null" if change.old is None else form.row(change.old)


def _moved(name: str, key: bytes | None) -> tuple[tuple[str, str], ...]:
    return () if key is None else ((f"__debezium.{name}", key.decode()),)


def _placeholder(column: Column) -> str:
    name = builtin_name(column) or ""
    # A consumer decodes the value as its type, so the placeholder has the type's form.
    if name == "bytea":
        return f'"{b64encode(UNAVAILABLE.encode()).decode()}"'
    return f'["{UNAVAILABLE}"]' if name.startswith("_") else f'"{UNAVAILABLE}"'


def _interval(value: bytes) -> str:
    """Return an interval as an ISO 8601 duration, in the parts that Debezium writes."""
    found = _INTERVAL.fullmatch(value.decode())
    if found is None or not value:
        return text(value)
    # The server writes one sign for hours, minutes and seconds; ISO 8601 wants one for each.
    sign = "-" if found["sign"] == "-" else ""
    years, months, days = (int(found[name] or 0) for name in ("years", "months", "days"))
    hours, minutes, seconds = (int(found[name] or 0) for name in ("hours", "minutes", "seconds"))
    fraction = (found["fraction"] or "").rstrip("0")
    clock = [f"{sign if part else ''}{part}" for part in (hours, minutes)]
    of_second = f"{sign if seconds or fraction else ''}{seconds}{fraction}"
    return f'"P{years}Y{months}M{days}DT{clock[0]}H{clock[1]}M{of_second}S"'


def _zoned(value: bytes) -> str:
    """Return a time of day with a zone, in UTC."""
    seconds, fraction = divmod(microseconds(value) % 86_400_000_000, 1_000_000)
    written = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    part = f".{fraction:06}".rstrip("0") if fraction else ""
    return f'"{written}{part}Z"'


# Most rows of a transaction have the time at which it began.
@lru_cache(maxsize=64)
def _instant(value: bytes) -> str:
    """Return a time with a zone, in UTC, with all digits of its microseconds."""
    # Almost all values have all digits, and are in UTC.
    if len(value) == _WHOLE_INSTANT and usual(value) and value.endswith(b"+00"):
        return f'"{value[:10].decode()}T{value[11:-3].decode()}Z"'
    if value.endswith(b"infinity"):
        return text(value)
    written = iso(value)[1:-2]
    whole, _, fraction = written.partition(".")
    return f'"{whole}.{fraction.ljust(6, "0")}Z"'


def _date(value: bytes) -> str:
    """Return the days of a date since 1970; an infinity as the last number of 32 bits."""
    if value.endswith(b"infinity"):
        return str(-(1 << 31) if value.startswith(b"-") else (1 << 31) - 1)
    return str(microseconds(value) // 86_400_000_000)


def _micros(value: bytes) -> str:
    """Return microseconds since 1970; an infinity as Debezium does."""
    return _INFINITIES.get(value) or str(microseconds(value))


def _millis(value: bytes) -> str:
    """Return milliseconds since 1970; an infinity as Debezium does."""
    found = _INFINITIES.get(value)
    return str((microseconds(value) if found is None else int(found)) // 1000)


def _bits(value: bytes) -> str:
    """Return bits as Base64 of their bytes, the last bits first."""
    # A varbit may have no bits.
    number = int(value, 2) if value else 0
    return f'"{b64encode(number.to_bytes((len(value) + 7) // 8, "little")).decode()}"'


def _bit(value: bytes) -> str:
    return "true" if value == b"1" else "false"


def _money(value: bytes) -> str:
    """Return an amount without its currency; the text, if it has the form of another locale."""
    if _DOLLARS.fullmatch(value):
        return text(value.replace(b"$", b"").replace(b",", b""))
    return text(value)


_RULES: Mapping[str, ToJson] = {
    **rules_of("micros", "text"),
    "date": _date,
    "time": _micros,
    "timestamp": _micros,
    "timetz": _zoned,
    "timestamptz": _instant,
    "interval": _interval,
    "bit": _bits,
    "varbit": _bits,
    "money": _money,
}


def _converter(column: Column) -> ToJson:
    """Return the function for the JSON of a column; some depend on its precision or length."""
    name, modifier = builtin_name(column), column.type_modifier
    if name in ("time", "timestamp") and modifier in _MILLISECONDS:
        return _millis
    # Debezium sends one bit as a boolean.
    if name == "bit" and modifier == 1:
        return _bit
    return converter(column, _RULES)
