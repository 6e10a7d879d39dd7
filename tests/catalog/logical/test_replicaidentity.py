"""Replica identities."""

from __future__ import annotations

import pytest

from pgreplkit.catalog.logical.replicaidentity import identities, identity_in, written_tables


@pytest.mark.parametrize(
    ("kind", "index", "is_usable"),
    [
        ("d", "t_pkey", True),
        ("d", None, False),
        ("i", "t_n", True),
        ("f", None, True),
        ("n", None, False),
    ],
)
def test_an_identity_is_an_index_or_the_whole_row(
    kind: str, index: str | None, is_usable: bool
) -> None:
    record = {"schema": "public", "name": "t", "kind": kind, "index": index}
    identity = identity_in({**record, "columns": [], "remedy": ""})
    assert (str(identity.table), identity.is_usable) == ("public.t", is_usable)


def test_the_statements_use_what_the_version_has() -> None:
    assert "indnkeyatts" in identities(11, "SELECT 1")
    assert "indnkeyatts" not in identities(10, "SELECT 1")
    assert "pg_partition_tree" in written_tables(13)
    assert "pg_partition_tree" not in written_tables(12)
