"""Settings of a session."""

from __future__ import annotations

import pytest

from pgreplkit.catalog.server.session import TIMEOUTS, own_settings


@pytest.mark.parametrize(("version", "count"), [(10, 3), (13, 3), (14, 4), (16, 4), (17, 5)])
def test_each_time_limit_that_the_version_has_is_switched_off_first(
    version: int, count: int
) -> None:
    statements = own_settings(version).split("; ")
    limits = [f"SET {name} = '0'" for name, since in TIMEOUTS.items() if version >= since]
    assert statements[:count] == limits
    assert "SET default_transaction_isolation = 'read committed'" in statements[count:]
