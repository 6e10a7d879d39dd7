"""Statements for several changes that are all expected to win."""

from __future__ import annotations

from itertools import count

from applyfacts import OWN, USERS, dumped, target

from pgreplkit.apply import TableRule
from pgreplkit.apply.shape import match
from pgreplkit.apply.stamped import StampedStatements, Stamps
from pgreplkit.catalog.logical.applytables import TargetTable


def stamped(*, by_time: bool = True, own: TargetTable = OWN) -> StampedStatements:
    numbers = count(1)
    matched = match(USERS, own, TableRule(), dumped)
    return StampedStatements(matched, Stamps(2, by_time), lambda: b"s%d" % next(numbers))


def test_several_changes_are_applied_at_once_if_all_of_them_win() -> None:
    insert, update = stamped().upsert(is_new=True), stamped().upsert(is_new=False)
    delete = stamped().delete()
    assert insert.several is not None
    assert insert.follows is not None
    assert insert.several(2).sql == (
        'INSERT INTO public.t ("id", "name", "n") VALUES ($1, $2, $3), ($4, $5, $6)'
    )
    assert insert.follows(2).sql == (
        "SELECT 1 / (NOT EXISTS (SELECT FROM pgreplkit.tombstone AS d"
        " WHERE d.relation = 'public.t'::regclass::oid AND d.key ="
        " ANY (ARRAY[jsonb_build_array($1::integer), jsonb_build_array($2::integer)])"
        " AND pg_xact_commit_timestamp(d.xmin) >= $3))::int"
    )
    assert update.several is not None
    assert update.several(2).sql == (
        'WITH changed AS (UPDATE ONLY public.t AS t SET "name" = v.c2, "n" = v.c3'
        " FROM (VALUES ($1, $2, $3), ($4, $5, $6)) AS v (c1, c2, c3)"
        ' WHERE t."id" = v.c1 AND coalesce(pg_xact_commit_timestamp(t.xmin) < $7, true)'
        " RETURNING 1) SELECT 1 / (count(*) = 2)::int FROM changed"
    )
    assert update.several(2).types == (23, 25, 23, 23, 25, 23, 1184)
    assert delete.several is not None
    assert delete.several(1).types == (23, 1184)
    assert "coalesce(pg_xact_commit_timestamp(d.xmin) < $2, true)" in delete.several(1).sql
    assert "INSERT INTO pgreplkit.tombstone" in delete.several(1).sql
    # Each statement has one name, whatever the table and the number of rows.
    made = [insert.several(1), insert.several(2), insert.follows(2), insert.several(1)]
    assert [one.name for one in made] == [b"s1_i1", b"s1_i2", b"s1_c2", b"s1_i1"]
    # The conditions of a priority are on each row; a partitioned table cannot be asked.
    split = target(*OWN.columns, is_partitioned=True)
    for other in (stamped(by_time=False), stamped(own=split)):
        assert other.upsert(is_new=True).several is None
        assert other.delete().several is None
