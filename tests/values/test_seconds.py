"""Timeouts and intervals in seconds."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, strategies as st

from pgreplkit.values.seconds import checked_seconds

LONGEST = 1e9
"""30 years: more cannot be waited for."""


@given(st.floats() | st.integers())
@example(math.inf)
@example(math.nan)
@example(-0.1)
@example(2e9)
@example(10**400)
def test_a_number_of_seconds_is_finite_and_not_negative(seconds: float) -> None:
    if 0 <= seconds < math.inf:
        assert checked_seconds(seconds, "timeout") == min(seconds, LONGEST)
    else:
        with pytest.raises(ValueError, match="timeout must be finite and >= 0"):
            checked_seconds(seconds, "timeout")


@pytest.mark.parametrize("seconds", [None, "5", True, 1j])
def test_other_types_are_refused(seconds: object) -> None:
    with pytest.raises(TypeError, match="timeout must be a number of seconds"):
        checked_seconds(seconds, "timeout")  # type: ignore[arg-type]
