"""The facts about the two servers of an upgrade."""

from __future__ import annotations

from datetime import timedelta

from upgradefacts import NOW, facts_of


def test_one_database_is_known_by_its_server_its_start_and_its_name() -> None:
    assert facts_of(new={"system_id": 1}).is_one
    # Another server, a promoted clone, and another database of the same server.
    assert not facts_of().is_one
    assert not facts_of(new={"system_id": 1, "started_at": NOW + timedelta(seconds=1)}).is_one
    assert not facts_of(new={"system_id": 1, "database": "other"}).is_one
