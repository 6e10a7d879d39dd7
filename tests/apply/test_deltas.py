"""Delta columns: their statements, and the columns to which differences can be added."""

from __future__ import annotations

import attrs
import pytest
from applyfacts import TEXT, column, dumped, source
from deltafacts import ACCOUNTS, OWN, statements

from pgreplkit.apply import ConflictKind, DeltaColumns, TableRule
from pgreplkit.apply.deltas import DeltaStatements
from pgreplkit.apply.shape import match
from pgreplkit.apply.stamped import Stamps, conflict_of
from pgreplkit.apply.statements import Kind
from pgreplkit.errors import SchemaMismatch
from pgreplkit.plans.logical.deltacolumns import delta_problems
from pgreplkit.values.tablename import TableName


def test_an_insert_adds_its_value_and_an_update_the_difference() -> None:
    made = statements()
    insert, update = made.upsert(is_new=True), made.upsert(is_new=False)
    assert 'SET "n" = (t."n" + $2::integer::numeric)::integer' in insert.sql
    assert 'SET "n" = (t."n" + $3::integer::numeric - $1::integer::numeric)::integer' in update.sql
    # The old value of the delta column, and the new row.
    assert update.picks == (1, 3, 4, 5)
    assert insert.picks == (0, 1, 2)
    assert '"name" = CASE WHEN current_setting(' in insert.sql
    assert "ELSE pgreplkit.again() END" in insert.sql
    assert "WHEN current_setting('pgreplkit.found') = '' THEN" in update.sql
    assert conflict_of(Kind.UPDATE, b"d") == (ConflictKind.UPDATE_DELETED, False)


def test_a_difference_of_nan_is_refused() -> None:
    exact = attrs.evolve(column("n", 1700, not_null=True), type="numeric(9,2)")
    columns = [exact if each.name == "n" else each for each in OWN.columns]
    own = attrs.evolve(OWN, columns=tuple(columns))
    names = iter(f"s{number}".encode() for number in range(9))
    made = DeltaStatements(
        match(ACCOUNTS, own, TableRule(), dumped), Stamps(2), ["n"], lambda: next(names)
    )
    for is_new, amount in (
        (True, "$2::numeric(9,2)::numeric"),
        (False, "$3::numeric(9,2)::numeric - $1::numeric(9,2)::numeric"),
    ):
        sql = made.upsert(is_new=is_new).sql
        # Where the row exists, and where it does not.
        assert sql.count(f"CASE WHEN {amount} = 'NaN' THEN") == 2
    assert "NaN" not in statements().upsert(is_new=True).sql


def test_versions_are_compared_by_the_kept_stamp() -> None:
    judge, hold = statements().judge(), statements().hold()
    assert hold.sql.endswith('WHERE t."id" = $1 FOR UPDATE')
    assert hold.picks == (0,)
    # The key, and the commit time.
    assert judge.picks == (0, 3)
    assert "coalesce(at < $2, true) OR at = $2 AND rank <= 2" in judge.sql
    assert "s.xid = t.xmin" in judge.sql
    by_row = statements(None).judge()
    assert by_row.picks == (0, 2, 3)
    assert 'texts COLLATE "C" <= ROW($2::text)::text' in by_row.sql


def test_a_deletion_wins_over_every_change() -> None:
    delete = statements().delete()
    assert delete.picks == (0,)
    assert 'WHERE t."id" = $1 AND true RETURNING' in delete.sql
    sweep = statements().sweep()
    assert sweep is not None
    assert "t.xmin <> d.xmin AND true" in sweep.sql
    assert "NULL::timestamptz" in statements().upsert(is_new=True).sql


def test_columns_without_differences_are_refused() -> None:
    exact = attrs.evolve(column("p", not_null=True), type="numeric(9,2)")
    own = attrs.evolve(
        OWN,
        columns=(
            *(column("id", not_null=True), column("n", not_null=True), column("maybe")),
            *(column("name", TEXT, not_null=True), exact),
            *(column("gone", not_null=True, is_generated=True), column("i", not_null=True)),
        ),
    )
    assert [*delta_problems(own, ["n", "p", "i"])] == []
    for name, problem in {
        "id": "part of the key",
        "maybe": "can be NULL",
        "name": "is text",
        "other": "has no column",
        "gone": "is generated",
    }.items():
        [found] = delta_problems(own, [name])
        assert problem in found
    keyed = source(("id", 23, True), ("n", 23, False), ("name", TEXT, False))
    matched = match(keyed, OWN, TableRule(), dumped)
    with pytest.raises(SchemaMismatch, match="REPLICA IDENTITY FULL"):
        DeltaStatements(matched, Stamps(2), ["n"], lambda: b"x")
    dropped = match(ACCOUNTS, OWN, TableRule(columns={"n": None}, constants={"n": 1}), dumped)
    with pytest.raises(SchemaMismatch, match="'n' is not published"):
        DeltaStatements(dropped, Stamps(2), ["n"], lambda: b"x")


def test_the_columns_of_a_policy_are_checked() -> None:
    policy = DeltaColumns({"accounts": ["balance"]}, max_clock_skew=2)
    assert policy.columns == {TableName("public", "accounts"): ("balance",)}
    assert policy.max_clock_skew.total_seconds() == 2
    with pytest.raises(TypeError, match="positional"):
        DeltaColumns({"accounts": ["balance"]}, 2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"columns of public\.accounts takes several items"):
        DeltaColumns({"accounts": "balance"})
    with pytest.raises(TypeError, match="columns must be a mapping"):
        DeltaColumns(["accounts"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be a str"):
        DeltaColumns({"accounts": [1]})  # type: ignore[list-item]
    with pytest.raises(ValueError, match="names no table"):
        DeltaColumns({})
    with pytest.raises(ValueError, match="named twice"):
        DeltaColumns({"accounts": ["a"], "public.accounts": ["a"]})
