"""The tables of a subscription."""

from __future__ import annotations

from pgreplkit.catalog.logical.subscription import subscribed_table_in, subscribed_tables


def test_the_progress_of_copies_is_known_since_14() -> None:
    assert "pg_stat_progress_copy" in subscribed_tables(14)
    assert "progress" not in subscribed_tables(13)


def test_a_record_becomes_a_table() -> None:
    record = {"relid": 7, "schema": "public", "name": "t", "state": "r", "lsn": None, "pid": None}
    assert str(subscribed_table_in(record).table) == "public.t"
