"""Values and rows as JSON types."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import attrs
import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN, SegmentSize, TableName, WalFileName
from pgreplkit.rows import Severity
from pgreplkit.testing.strategies import lsns
from pgreplkit.values.plain import plain, plain_row


@attrs.frozen
class Inner:
    lsn: LSN


@attrs.frozen
class Sample:
    _also_plain = ("double",)

    number: int
    inner: Inner | None
    parts: tuple[Inner, ...] = ()

    @property
    def double(self) -> int:
        return 2 * self.number


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
    ],
)
def test_each_kind_of_value_has_its_json_form(value: object, expected: object) -> None:
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)


def test_a_row_becomes_its_fields_and_listed_properties() -> None:
    row = Sample(3, Inner(LSN(1)), (Inner(LSN(2)),))
    assert plain_row(row) == {
        "number": 3,
        "inner": {"lsn": "0/1"},
        "parts": [{"lsn": "0/2"}],
        "double": 6,
    }
    assert plain_row(Sample(0, None))["inner"] is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | lsns() | st.timedeltas(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(values)
def test_every_value_can_be_written_as_json(value: object) -> None:
    assert json.loads(json.dumps(plain(value))) == plain(value)
