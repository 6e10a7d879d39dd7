"""Values as JSON types."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN, SegmentSize, TableName, WalFileName
from pgreplkit.protocol.pgoutput.rows import named_rows
from pgreplkit.rows import Severity
from pgreplkit.testing.strategies import lsns
from pgreplkit.values.plain import plain
from pgreplkit.values.unchanged import UNCHANGED


@dataclass
class Own:
    id: int
    data: bytes


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (5, 5),
        (0.5, 0.5),
        ("text", "text"),
        (LSN("0/10"), "0/10"),
        (SegmentSize.DEFAULT, 16 << 20),
        (WalFileName.parse("000000010000000000000002"), "000000010000000000000002"),
        (TableName("a", "B"), 'a."B"'),
        (Severity.OK, "ok"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (timedelta(milliseconds=1500), 1.5),
        (MappingProxyType({1: LSN(1)}), {"1": "0/1"}),
        ([LSN(1), (LSN(2),)], ["0/1", ["0/2"]]),
        (b"\x00\xff", "\\x00ff"),
        (memoryview(b"ab"), "\\x6162"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (Decimal("1.50"), "1.50"),
        (date(2026, 1, 2), "2026-01-02"),
        ({"id": 1, "large": UNCHANGED}, {"id": 1}),
        (named_rows(("id",))((LSN(1),)), {"id": "0/1"}),
        (Own(3, b"a"), {"id": 3, "data": "\\x61"}),
    ],
)
def test_each_kind_of_value_has_its_json_form(value: object, expected: object) -> None:
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | lsns() | st.timedeltas(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(values)
def test_every_value_can_be_written_as_json(value: object) -> None:
    assert json.loads(json.dumps(plain(value))) == plain(value)
