"""Values as JSON, made of the server's texts."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pgreplkit.changes import Column
from pgreplkit.feeds.encoding.values import converter, rules_of
from pgreplkit.values.tablename import TableName

INT4, BOOL, BYTEA, TEXT, JSONB, FLOAT8, NUMERIC = 23, 16, 17, 25, 3802, 701, 1700
DATE, TIME, TIMETZ, TIMESTAMP, TIMESTAMPTZ, INTERVAL = 1082, 1083, 1266, 1114, 1184, 1186
INTS, TEXTS, BOXES, TIMESTAMPTZS = 1007, 1009, 1020, 1185
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def written(oid: int, value: str | bytes, *, times: str = "iso", as_json: str = "embedded") -> str:
    sent = value.encode() if isinstance(value, str) else value
    return converter(Column("c", oid, -1, False), rules_of(times, as_json))(sent)


def loaded(oid: int, value: str | bytes, **options: str) -> Any:
    return json.loads(written(oid, value, **options))


@pytest.mark.parametrize(
    ("oid", "text", "expected"),
    [
        (INT4, "-12", "-12"),
        (BOOL, "t", "true"),
        (BOOL, "f", "false"),
        (FLOAT8, "1.5e-05", "1.5e-05"),
        (FLOAT8, "-0", "-0"),
        (FLOAT8, "NaN", '"NaN"'),
        (FLOAT8, "-Infinity", '"-Infinity"'),
        (NUMERIC, "12.340", '"12.340"'),
        (BYTEA, r"\xdead00", '"3q0A"'),
        (BYTEA, r"a\\b\000", '"YVxiAA=="'),
        (JSONB, '{"a": [1.50]}', '{"a": [1.50]}'),
        (DATE, "2024-02-29", '"2024-02-29"'),
        (DATE, "0044-03-15 BC", '"-0043-03-15"'),
        (DATE, "12024-01-01", '"+12024-01-01"'),
        (DATE, "infinity", '"infinity"'),
        (TIME, "24:00:00", '"24:00:00"'),
        (TIMETZ, "12:34:56.5+02", '"12:34:56.5+02:00"'),
        (TIMETZ, "12:34:56-03:30", '"12:34:56-03:30"'),
        (TIMESTAMP, "2024-02-29 12:34:56.5", '"2024-02-29T12:34:56.5"'),
        (TIMESTAMPTZ, "2024-02-29 12:34:56.5+00", '"2024-02-29T12:34:56.5Z"'),
        (TIMESTAMPTZ, "2024-02-29 00:30:00+05:30", '"2024-02-28T19:00:00Z"'),
        (TIMESTAMPTZ, "1850-01-01 00:53:28+00:53:28", '"1850-01-01T00:00:00Z"'),
        (TIMESTAMPTZ, "0044-03-15 12:00:00+00 BC", '"-0043-03-15T12:00:00Z"'),
        (INTERVAL, "1 day 02:00:00", '"1 day 02:00:00"'),
        (INTS, "{1,NULL,-3}", "[1,null,-3]"),
        (INTS, "{}", "[]"),
        (INTS, "[0:1]={5,6}", "[5,6]"),
        (INTS, "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
        (TEXTS, '{a;b,"NULL",NULL,"",{"q\\"\\\\"}}', '["a;b","NULL",null,"",["q\\"\\\\"]]'),
        (BOXES, "{(1,1),(0,0);(2,2),(0,0)}", '["(1,1),(0,0)","(2,2),(0,0)"]'),
        (TIMESTAMPTZS, '{"2024-02-29 12:00:00+00"}', '["2024-02-29T12:00:00Z"]'),
        (99_999, "unknown", '"unknown"'),
    ],
)
def test_each_type_has_its_form(oid: int, text: str, expected: str) -> None:
    assert written(oid, text) == expected


def test_times_can_be_microseconds_and_json_can_be_a_string() -> None:
    assert written(DATE, "1970-01-02", times="micros") == "86400000000"
    assert written(TIME, "00:00:01.5", times="micros") == "1500000"
    assert written(TIMESTAMPTZ, "1970-01-01 01:00:00+01", times="micros") == "0"
    assert written(TIMESTAMPTZ, "infinity", times="micros") == '"infinity"'
    assert written(TIMETZ, "12:00:00+01", times="micros") == '"12:00:00+01:00"'
    assert written(JSONB, '{"a": 1}', as_json="text") == '"{\\"a\\": 1}"'
    with pytest.raises(ValueError, match="times must be one of iso, micros, got 'utc'"):
        rules_of("utc", "text")


def test_a_domain_has_the_form_of_its_base_type() -> None:
    def form(schema: str, name: str, value: bytes) -> str:
        column = Column("c", 20_000, -1, False, TableName(schema, name))
        return converter(column, rules_of("iso", "embedded"))(value)

    assert form("pg_catalog", "int4", b"7") == "7"
    assert form("pg_catalog", "_int4", b"{7}") == "[7]"
    assert form("public", "int4", b"7") == '"7"'


@pytest.mark.parametrize(
    ("oid", "text"), [(INT4, b"1e5"), (BOOL, b"true"), (DATE, b"29/02/2024"), (TEXT, b"\xff")]
)
def test_a_text_that_is_not_of_its_type_is_refused(oid: int, text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        written(oid, text)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_text_is_read_back(text: str) -> None:
    assert loaded(TEXT, text) == text


@given(st.binary())
def test_bytes_are_read_back(content: bytes) -> None:
    assert base64.b64decode(loaded(BYTEA, f"\\x{content.hex()}")) == content


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_read_back(number: float) -> None:
    assert loaded(FLOAT8, repr(number)) == number


@given(st.datetimes(timezones=st.just(UTC)), st.integers(-15 * 3600 + 1, 15 * 3600 - 1))
def test_a_time_is_the_same_instant_in_both_forms(time: datetime, offset: int) -> None:
    zone = timezone(timedelta(seconds=offset))
    if not datetime(2, 1, 1, tzinfo=UTC) < time < datetime(9998, 1, 1, tzinfo=UTC):
        return
    text = time.astimezone(zone).isoformat(" ")
    assert datetime.fromisoformat(loaded(TIMESTAMPTZ, text)) == time
    micros = loaded(TIMESTAMPTZ, text, times="micros")
    assert micros == (time - EPOCH) // timedelta(microseconds=1)


NESTED = st.lists(st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8")))


@given(NESTED)
def test_an_array_is_read_back(items: list[str | None]) -> None:
    def quoted(item: str | None) -> str:
        if item is None:
            return "NULL"
        return '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"'

    assert loaded(TEXTS, "{" + ",".join(map(quoted, items)) + "}") == items
