"""The steps of the changes of one table."""

from __future__ import annotations

from typing import Any

import attrs
import pgoutputs as po
import pytest
from applyfacts import (
    INT,
    OWN,
    TEXT,
    USERS,
    column,
    dumped,
    matched,
    source,
    target,
    transaction,
)
from applyplans import planned, planner
from deltafacts import statements

from pgreplkit.apply import TableRule
from pgreplkit.apply.statements import Kind
from pgreplkit.apply.tableplans import DeltaPlan, TablePlan
from pgreplkit.catalog.logical.applytables import TargetTable
from pgreplkit.errors import SchemaMismatch
from pgreplkit.protocol.pgoutput.tables import Table
from pgreplkit.protocol.pgoutput.tuples import UNSENT, RawValues


def test_a_whole_old_row_completes_the_new_one() -> None:
    steps = planned(po.update(1, ..., 3, old=[1, "long", 2]), identity="f")
    # With the whole old row, any unique key of the subscriber finds it.
    assert steps == [(Kind.UPDATE, [b"1", b"1", b"long", b"3"])]


def test_an_unsent_value_is_left_alone() -> None:
    assert planned(po.update(1, ..., 3)) == [(Kind.UPDATE, [b"1", b"3"])]


def steps_with_identity(name: str, *, is_constant: bool = False) -> list[tuple[str, list[Any]]]:
    """Return the SQL and the parameters of a change of the key, with an unsent value."""
    columns = (("id", INT), ("name", TEXT), ("n", INT), ("own", INT))
    own = target(*(column(each, oid, identity="a" * (each == name)) for each, oid in columns))
    rule = TableRule(constants={"own": 7}) if is_constant else None
    [change] = transaction(po.update(3, ..., 2, key=[1, None, None])).changes()
    steps = planner(rule, own).steps(change)
    return [(statement.sql, [*values]) for statement, values, _ in steps]


def test_an_identity_column_whose_value_changes_is_inserted_again() -> None:
    [(sql, values)] = steps_with_identity("id")
    assert 'INSERT INTO public.t ("id", "name", "n", "own") OVERRIDING SYSTEM VALUE' in sql
    # Values that were not sent, and the subscriber's own columns, are taken from the row before.
    assert 'SELECT $2, gone."name", $3, gone."own" FROM gone' in sql
    assert values == [b"1", b"3", b"2"]


def test_an_identity_column_of_which_no_old_value_was_sent_stays() -> None:
    [(sql, values)] = steps_with_identity("n")
    assert sql == 'UPDATE ONLY public.t AS t SET "id" = $2 WHERE t."id" = $1'
    assert values == [b"1", b"3"]


def test_an_identity_column_that_is_a_constant_stays() -> None:
    [(sql, _)] = steps_with_identity("own", is_constant=True)
    assert sql.startswith("UPDATE")


def raw(*values: bytes | None) -> RawValues:
    return [*values], [UNSENT if value is None else 0 for value in values]


def test_a_change_of_the_key_is_a_deletion_and_an_insert() -> None:
    made = statements()
    plan = DeltaPlan(made._match, TableRule(), dumped, lambda: b"x", made)
    old, new = raw(b"1", b"5", b"a"), raw(b"1", b"7", b"b")
    kinds = [statement.kind for statement, _, _ in plan.changes(old, new)]
    assert kinds == [Kind.UPDATE] * 3
    assert [*plan.changes(old, new)[2][1]] == [b"5", b"1", b"7", b"b"]
    moved = raw(b"2", b"7", b"b")
    kinds = [statement.kind for statement, _, _ in plan.changes(old, moved)]
    assert kinds == [Kind.DELETE, Kind.UPDATE, Kind.UPDATE, Kind.INSERT]
    assert [step[0].kind for step in plan.changes(old, None)] == [Kind.DELETE]
    # A large value that did not change is that of the old row.
    unsent = plan.changes(old, raw(b"1", b"7", None))[2]
    assert [*unsent[1]] == [b"5", b"1", b"7", b"a"]
    assert UNSENT not in unsent[2]


def planned_for_root(table: Table = USERS, own: TargetTable = OWN) -> TablePlan:
    return TablePlan(
        attrs.evolve(matched(table, own), is_root=True), TableRule(), dumped, lambda: b"x"
    )


def test_an_old_row_of_a_partition_without_the_key_is_refused() -> None:
    plan = planned_for_root()
    for lacking in (([None, b"a", b"1"], [0, 0, 0]), ([None, None, b"1"], [0, 0, 0])):
        with pytest.raises(SchemaMismatch, match="identity of the row's partition"):
            plan.delete(lacking)
        with pytest.raises(SchemaMismatch, match="identity of the row's partition"):
            plan.update(lacking, raw(b"1", b"b", b"2"))
    assert plan.delete(raw(b"1", None, None))[1] == (b"1",)
    # Old rows of other tables are what their own identity says.
    assert TablePlan(matched(), TableRule(), dumped, lambda: b"x").delete(raw(None, None, None))


def test_a_row_of_a_root_without_an_identity_is_found_by_whole_old_rows_only() -> None:
    table = source(("id", INT, False), ("name", TEXT, False))
    own = target(column("id", not_null=True), column("name", TEXT))
    plan, new = planned_for_root(table, own), raw(b"1", b"b")
    with pytest.raises(SchemaMismatch, match="identity of the row's partition"):
        plan.update(None, new)
    with pytest.raises(SchemaMismatch, match="identity of the row's partition"):
        plan.update(None, raw(b"1", None))
    [(statement, values, _)] = plan.update(([b"1", None], [0, 0]), new)
    assert statement.kind is Kind.UPDATE
    assert [*values] == [b"1", None, b"1", b"b"]
