"""The facts about a stuck subscription."""

from __future__ import annotations

import pytest

from pgreplkit.catalog.logical.stuck import published, worker_pool


@pytest.mark.parametrize(
    ("version", "limit"), [(17, "max_replication_slots"), (18, "max_active_replication_origins")]
)
def test_origins_have_a_limit_of_their_own_since_18(version: int, limit: str) -> None:
    assert f"'{limit}' AS origins_setting" in worker_pool(version)


@pytest.mark.parametrize(
    ("version", "is_left_out"), [(11, False), (12, True), (17, True), (18, False)]
)
def test_generated_columns_are_published_since_18(version: int, is_left_out: bool) -> None:
    assert ("AND attgenerated = ''" in published(version)) is is_left_out
