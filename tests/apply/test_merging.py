"""The statements that find the row for a function that merges two rows."""

from __future__ import annotations

import pytest
from applyfacts import OWN, TEXT, matched, source, target

from pgreplkit.apply.merging import Merging
from pgreplkit.errors import SchemaMismatch


def test_merging_needs_whole_old_rows_and_a_unique_key() -> None:
    with pytest.raises(SchemaMismatch, match="REPLICA IDENTITY FULL"):
        Merging(matched())
    full = source(("id", 23, True), ("name", TEXT, True), ("n", 23, True), identity="f")
    with pytest.raises(SchemaMismatch, match="unique key"):
        Merging(matched(full, target(*OWN.columns, keys=())))
    local = Merging(matched(full)).local(b"x")
    assert local.sql == (
        'SELECT t."id"::text, t."name"::text, t."n"::text FROM ONLY public.t AS t'
        ' WHERE t."id" = $1 FOR UPDATE'
    )
    assert local.picks == (0,)
