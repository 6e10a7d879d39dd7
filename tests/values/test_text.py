"""Text forms: sizes, durations and lines."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from pgreplkit.values.text import clean, duration_text, size_text, table_text, value_text, wrapped


@given(st.text(), st.text("→ ", max_size=20))
def test_wrapped_lines_are_printable_and_have_at_most_100_columns(text: str, first: str) -> None:
    lines = wrapped(text, first=first)
    for line in lines:
        assert len(line) <= 100
        assert line.isprintable()
    joined = "".join(lines).removeprefix(first.rstrip() if not clean(text) else first)
    assert joined.replace(" ", "") == clean(text).replace(" ", "")


@given(st.integers(0, 1 << 62))
def test_a_size_has_at_most_four_digits(count: int) -> None:
    number, unit = size_text(count).split()
    assert len(number.replace(".", "")) <= 5
    assert unit in {"B", "KiB", "MiB", "GiB", "TiB", "PiB"}


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (1.25, "1.25 s"),
        (59.999, "60 s"),
        (61, "1 min 1 s"),
        (3600, "1 h 0 min"),
        (86400 * 3, "3 days 0 h"),
        (-5, "-5 s"),
    ],
)
def test_a_duration_has_its_largest_units(seconds: float, expected: str) -> None:
    assert duration_text(timedelta(seconds=seconds)) == expected


def test_values_are_words() -> None:
    assert value_text(None) == "-"
    assert value_text(True) == "yes"
    assert value_text((1, None)) == "1, -"
    assert value_text(()) == "none"
    assert value_text({"a": 1}) == "a=1"
    assert value_text(1 << 24, "retained_bytes") == "16777216 (16.0 MiB)"
    assert value_text(1 << 24, "pid") == "16777216"


def test_a_table_names_the_columns_that_do_not_fit() -> None:
    rows = [{"a": 1, "empty": None, "name" * 25: 3, "c": 2}]
    head, row, *more = table_text(rows)
    assert (head.split(), row.split()) == (["a", "c"], ["1", "2"])
    assert "".join(more) == f"(more columns: {'name' * 25})"


def test_a_name_of_a_column_cannot_break_a_table() -> None:
    assert table_text([{"a\nb\x1b": "c\nd"}]) == ["a b\\x1b", "c d"]
