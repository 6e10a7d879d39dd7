"""Thresholds: the notation of monitoring plugins."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from pgreplkit.checks import Threshold
from pgreplkit.errors import InvalidThreshold

numbers = st.integers(-(10**6), 10**6).map(float) | st.sampled_from([0.5, -0.25])


@st.composite
def thresholds(draw: st.DrawFn) -> Threshold:
    low, high = sorted([draw(numbers), draw(numbers)])
    start, end = draw(st.sampled_from([(low, high), (-math.inf, high), (low, math.inf)]))
    return Threshold(start, end, draw(st.booleans()))


@given(thresholds(), numbers)
def test_a_threshold_parses_its_own_text(threshold: Threshold, value: float) -> None:
    again = Threshold.parse(str(threshold))
    assert again == threshold
    assert again.is_violated_by(value) is threshold.is_violated_by(value)


@pytest.mark.parametrize(
    ("text", "bad", "good"),
    [
        ("10", [-1, 10.01], [0, 10]),
        ("10:", [9.9], [10, 1e18]),
        ("~:10", [11], [-1e18, 10]),
        ("10:20", [9, 21], [10, 20]),
        ("@10:20", [10, 15, 20], [9, 21]),
        (":0.5", [0.6], [0, 0.5]),
    ],
)
def test_the_table_of_the_plugin_guidelines_holds(
    text: str, bad: list[float], good: list[float]
) -> None:
    threshold = Threshold.parse(text)
    assert [value for value in [*bad, *good] if threshold.is_violated_by(value)] == bad


@pytest.mark.parametrize("text", ["", "@", "~", "x", "10:5", "1e3", "10:20:30", "٣", "5 :6", "~5"])
def test_other_texts_are_refused_with_the_notation(text: str) -> None:
    with pytest.raises(InvalidThreshold, match="expected a range such as '10'"):
        Threshold.parse(text)


def test_a_threshold_that_is_not_a_range_is_refused() -> None:
    for start, end in ((2, 1), (math.nan, 1), (math.inf, math.inf)):
        with pytest.raises(InvalidThreshold):
            Threshold(start, end)
    with pytest.raises(TypeError):
        Threshold.parse(10)  # type: ignore[arg-type]
