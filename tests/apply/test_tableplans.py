"""The steps of the changes of one table."""

from __future__ import annotations

import pgoutputs as po
from applyfacts import TEXT, column, dumped, target, transaction
from applyplans import planned, planner
from deltafacts import statements

from pgreplkit.apply import TableRule
from pgreplkit.apply.statements import Kind
from pgreplkit.apply.tableplans import DeltaPlan
from pgreplkit.protocol.pgoutput.tuples import UNSENT, RawValues


def test_a_whole_old_row_completes_the_new_one() -> None:
    steps = planned(po.update(1, ..., 3, old=[1, "long", 2]), identity="f")
    # With the whole old row, any unique key of the subscriber finds it.
    assert steps == [(Kind.UPDATE, [b"1", b"1", b"long", b"3"])]


def test_an_unsent_value_is_left_alone() -> None:
    assert planned(po.update(1, ..., 3)) == [(Kind.UPDATE, [b"1", b"3"])]


def test_an_identity_column_whose_value_changes_is_inserted_again() -> None:
    own = target(column("id", not_null=True, identity="a"), column("name", TEXT), column("n"))
    plan = planner(own=own)
    [change] = transaction(po.update(3, "b", 2, key=[1, None, None])).changes()
    assert [statement.kind for statement, _, _ in plan.steps(change)] == [Kind.DELETE, Kind.INSERT]


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
