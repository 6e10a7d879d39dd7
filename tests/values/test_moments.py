"""Times that are the same in every time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from pgreplkit.values.moments import checked_moment


def test_a_time_with_a_zone_is_taken_as_it_is() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert checked_moment(now, "since") is now
    assert checked_moment(None, "since") is None


@pytest.mark.parametrize("given", ["2026-01-01", date(2026, 1, 1), datetime(2026, 1, 1), 5])
def test_other_values_and_times_without_a_zone_are_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="since"):
        checked_moment(given, "since")
