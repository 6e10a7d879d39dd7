"""The errors for values: the value is shown, and shortened."""

from __future__ import annotations

import pytest
from errorclasses import REFUSALS
from hypothesis import given, strategies as st

from pgreplkit import errors
from pgreplkit.errors import InvalidValue

every_refusal = pytest.mark.parametrize("kind", REFUSALS, ids=lambda kind: kind.__name__)


@every_refusal
def test_an_error_for_a_value_names_the_value_the_fault_and_the_expectation(
    kind: type[InvalidValue],
) -> None:
    error = kind("16:B3", "it contains no '/'")
    assert (error.value, error.reason) == ("'16:B3'", "it contains no '/'")
    assert str(error).startswith(f"not a valid {kind.what}: '16:B3': it contains no '/'")
    assert error.expected == kind.expected
    assert str(error).endswith(kind.expected)
    assert kind.expected or kind is InvalidValue


def check_shortened(error: InvalidValue, text: str) -> None:
    assert error.value.startswith(repr(text[:40]))
    assert f"({len(text)} characters)" in error.value
    assert len(error.value) < 700
    assert str(error).isprintable()


@given(text=st.text(st.characters(), min_size=81))
def test_a_long_text_is_shortened(text: str) -> None:
    for many in (text, text * 10_000):
        check_shortened(InvalidValue(many, "no"), many)


@every_refusal
def test_an_error_for_a_value_shortens_a_long_text(kind: type[InvalidValue]) -> None:
    text = "\0\U0010ffff" * 400_000
    check_shortened(kind(text, "no"), text)


@given(st.text(st.characters(), max_size=80))
def test_a_short_text_is_shown_whole(text: str) -> None:
    assert InvalidValue(text, "no").value == repr(text)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (5, "5"),
        (True, "1"),
        (-(1 << 255), str(-(1 << 255))),
        pytest.param(1 << 20000, "a 20001-bit int", id="huge"),
        (b"ab", "b'ab'"),
        (bytes(81), "81 bytes"),
        (None, "a NoneType"),
        (["x"] * 1000, "a list"),
    ],
)
def test_other_values_are_shortened(value: object, shown: str) -> None:
    assert InvalidValue(value, "no").value == shown


def test_a_missing_timeline_shows_the_path() -> None:
    error = errors.TimelineNotInHistory(7, (1, 2, 5))
    assert (error.timeline, error.history) == (7, (1, 2, 5))
    assert "timeline 7 is not in this history (1 → 2 → 5)" in str(error)
