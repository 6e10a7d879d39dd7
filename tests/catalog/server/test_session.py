"""Settings of a session."""

from __future__ import annotations

import pytest

from pgreplkit.catalog.server.session import without_timeouts


@pytest.mark.parametrize(("version", "count"), [(10, 3), (13, 3), (14, 4), (16, 4), (17, 5)])
def test_each_time_limit_that_the_version_has_is_switched_off(version: int, count: int) -> None:
    statements = without_timeouts(version).split("; ")
    assert len(statements) == count
    assert all(one.startswith("SET ") and one.endswith("timeout = 0") for one in statements)
