"""Planning: from the bytes of pgoutput to statements with their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pgoutputs as po
import pytest
from applyfacts import OWN, TEXT, column, dumped, target, transaction

from pgreplkit.apply import TableRule
from pgreplkit.apply.filtering import RuleFailed
from pgreplkit.apply.planner import NotPortable, Planner, UnknownTable, is_portable
from pgreplkit.apply.statements import Kind
from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.protocol.pgoutput.tables import Column
from pgreplkit.values.tablename import TableName

NAME = TableName("public", "t")


def planner(
    rule: TableRule | None = None, own: Any = OWN, *, truncate: bool = True, is_binary: bool = False
) -> Planner:
    rules: Mapping[TableName, TableRule] = {} if rule is None else {NAME: rule}
    return Planner({NAME: own}, rules, dumped, truncate=truncate, is_binary=is_binary)


def planned(
    *messages: bytes, rule: TableRule | None = None, identity: str = "d"
) -> list[tuple[Kind, list[bytes | None]]]:
    plan = planner(rule)
    return [
        (statement.kind, [*values])
        for change in transaction(*messages, identity=identity).changes()
        for statement, values, _ in plan.steps(change)
    ]


def test_each_change_becomes_one_statement() -> None:
    assert planned(
        po.insert(1, "a", None),
        po.update(1, "b", 2),
        po.update(3, "b", 2, key=[1, None, None]),
        po.delete(3, None, None),
        po.truncate(7),
    ) == [
        (Kind.INSERT, [b"1", b"a", None]),
        (Kind.UPDATE, [b"1", b"b", b"2"]),
        (Kind.UPDATE, [b"1", b"3", b"b", b"2"]),
        (Kind.DELETE, [b"3"]),
        (Kind.TRUNCATE, []),
    ]


def test_statements_are_prepared_once() -> None:
    plan = planner()
    changes = transaction(po.insert(1, "a", 1), po.insert(2, "b", 2)).changes()
    names = {statement.name for change in changes for statement, _, _ in plan.steps(change)}
    assert len(names) == 1
    again = transaction(po.insert(1, "a", 1)).changes()
    assert {s.name for change in again for s, _, _ in plan.steps(change)} == names


def test_a_whole_old_row_completes_the_new_one() -> None:
    steps = planned(po.update(1, ..., 3, old=[1, "long", 2]), identity="f")
    # With the whole old row, any unique key of the subscriber finds it.
    assert steps == [(Kind.UPDATE, [b"1", b"1", b"long", b"3"])]


def test_an_unsent_value_is_left_alone() -> None:
    assert planned(po.update(1, ..., 3)) == [(Kind.UPDATE, [b"1", b"3"])]


def test_truncate_can_be_left_out() -> None:
    plan = planner(truncate=False)
    [change] = transaction(po.truncate(7)).changes()
    assert [*plan.steps(change)] == []


def test_an_unknown_table_is_asked_for() -> None:
    plan = Planner({}, {}, dumped, truncate=True, is_binary=False)
    [change] = transaction(po.insert(1, "a", 1)).changes()
    with pytest.raises(UnknownTable) as caught:
        plan.steps(change)
    assert caught.value.table == NAME


def test_a_row_that_no_longer_fits_is_deleted_and_comes_back() -> None:
    rule = TableRule(where=lambda row: row["n"] == 1)
    assert planned(
        po.insert(1, "a", 0),
        po.insert(2, "b", 1),
        po.update(1, "a", 1),
        po.update(2, "b", 0),
        po.update(5, "a", 1, key=[1, None, None]),
        po.delete(5, None, None),
        rule=rule,
    ) == [
        (Kind.INSERT, [b"2", b"b", b"1"]),
        (Kind.UPSERT, [b"1", b"a", b"1"]),
        (Kind.DELETE, [b"2"]),
        (Kind.DELETE, [b"1"]),
        (Kind.UPSERT, [b"5", b"a", b"1"]),
        (Kind.DELETE, [b"5"]),
    ]


def test_a_row_can_be_changed_or_left_out() -> None:
    def change(row: Row) -> Mapping[str, object] | None:
        return {"name": "hidden", "n": row["n"]} if row["n"] else None

    rule = TableRule(change=change)
    assert planned(po.insert(1, "a", 5), po.insert(2, "b", 0), rule=rule) == [
        (Kind.INSERT, [b"1", b"hidden", b"5"]),
    ]


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (TableRule(where=lambda row: bool(row["nowhere"])), "where raised"),
        (TableRule(change=lambda row: {"id": 9}), "altered the key column 'id'"),
        (TableRule(change=lambda row: {"x": 9}), "the column 'x'"),
        (TableRule(change=lambda row: {"name": "\ud800"}), "change returned for 'name'"),
        (TableRule(change=lambda row: "x"), "not a mapping"),  # type: ignore[arg-type, return-value]
    ],
)
def test_a_callable_that_fails_is_reported(rule: TableRule, found: str) -> None:
    with pytest.raises(RuleFailed, match=found):
        planned(po.insert(1, "a", 5), rule=rule)


def test_an_identity_column_whose_value_changes_is_inserted_again() -> None:
    own = target(column("id", not_null=True, identity="a"), column("name", TEXT), column("n"))
    plan = planner(own=own)
    [change] = transaction(po.update(3, "b", 2, key=[1, None, None])).changes()
    assert [statement.kind for statement, _, _ in plan.steps(change)] == [Kind.DELETE, Kind.INSERT]


def test_binary_values_need_the_same_types() -> None:
    wider = target(column("id", 20, not_null=True), column("name", TEXT), column("n"))
    [change] = transaction(po.insert(1, "a", 1)).changes()
    with pytest.raises(NotPortable):
        planner(own=wider, is_binary=True).steps(change)
    table = change[1][0].table
    assert is_portable([table], {NAME: OWN}, {}, dumped)
    assert not is_portable([table], {NAME: wider}, {}, dumped)
    assert not is_portable([table], {NAME: None}, {}, dumped)
    assert not is_portable([table], {NAME: OWN}, {NAME: TableRule(where=bool)}, dumped)
    assert isinstance(table.columns[0], Column)
