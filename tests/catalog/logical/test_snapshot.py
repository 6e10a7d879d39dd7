"""The statement for the columns that a snapshot copies."""

from __future__ import annotations

from pgreplkit.catalog.logical.snapshot import table_shape


def test_generated_columns_exist_since_12() -> None:
    assert "attgenerated" in table_shape(12)
    assert "attgenerated" not in table_shape(11)
