"""Times in milliseconds, the unit of the server's settings."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from pgreplkit.values.milliseconds import delay_milliseconds, timeout_milliseconds
from pgreplkit.values.seconds import checked_seconds

LONGEST = (1 << 31) - 1


@given(st.floats(0, 1e12))
def test_a_timeout_is_a_limit_and_never_no_limit(seconds: float) -> None:
    assert 1 <= timeout_milliseconds(seconds) <= LONGEST


@given(st.timedeltas(timedelta(0), timedelta(milliseconds=LONGEST)))
def test_a_delay_is_rounded_up_so_that_only_zero_is_none(delay: timedelta) -> None:
    milliseconds = delay_milliseconds(delay, "delay")
    assert (milliseconds == 0) == (delay == timedelta(0))
    assert timedelta(0) <= timedelta(milliseconds=milliseconds) - delay < timedelta(milliseconds=1)


@pytest.mark.parametrize(
    "delay", [timedelta(microseconds=-1), timedelta(milliseconds=LONGEST, microseconds=1)]
)
def test_a_delay_that_no_setting_can_hold_is_refused(delay: timedelta) -> None:
    with pytest.raises(ValueError, match="delay must be from 0 to 2147483647 milliseconds"):
        delay_milliseconds(delay, "delay")


@pytest.mark.parametrize("given", [10**400, 1e300, timedelta.max])
def test_a_timeout_of_any_size_can_be_waited_for(given: float | timedelta) -> None:
    assert checked_seconds(given, "a timeout") == 1e9
    assert timeout_milliseconds(given) == 2**31 - 1
