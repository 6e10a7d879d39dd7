"""Partitions are found whose old rows do not say which row is meant."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pgreplkit.catalog.logical.replicaidentity import ReplicaIdentity, identity_in
from pgreplkit.plans.logical.applyleaves import unfound_rows
from pgreplkit.values.tablename import TableName

LEAF = TableName("public", "p1")


def leaf(kind: str, columns: Sequence[str] = (), index: str | None = None) -> ReplicaIdentity:
    record = {"kind": kind, "index": index, "columns": columns, "remedy": ""}
    return identity_in({"schema": "public", "name": "p1", **record})


@pytest.mark.parametrize("key", [(), ("id",)])
@pytest.mark.parametrize(
    "fitting",
    # The publisher refuses to change rows without an identity.
    [leaf("f"), leaf("n"), leaf("d")],
)
def test_whole_old_rows_find_every_row(key: Sequence[str], fitting: ReplicaIdentity) -> None:
    assert unfound_rows(key, [fitting]) is None


def test_an_identity_with_more_columns_than_the_key_finds_rows() -> None:
    assert unfound_rows(["id"], [leaf("d", ["id", "at"], "p1_pkey")]) is None


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (["id"], "by (id), which the replica identity of public.p1 does"),
        ([], "all of their values"),
    ],
)
def test_an_identity_without_the_key_is_reported(key: Sequence[str], found: str) -> None:
    unfound = unfound_rows(key, [leaf("f"), leaf("i", ["b"], "p1_b")])
    assert unfound is not None
    assert unfound.leaves == (LEAF,)
    assert found in unfound.found
    assert unfound.remedy == "on the publisher: ALTER TABLE public.p1 REPLICA IDENTITY FULL"
