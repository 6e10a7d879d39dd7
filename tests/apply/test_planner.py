"""Planning: from the bytes of pgoutput to statements with their parameters."""

from __future__ import annotations

import pgoutputs as po
import pytest
from applyfacts import OWN, TEXT, column, dumped, target, transaction
from applyplans import NAME, planned, planner

from pgreplkit.apply import TableRule
from pgreplkit.apply.planner import NotPortable, Planner, UnknownTable, is_portable
from pgreplkit.apply.statements import Kind
from pgreplkit.protocol.pgoutput.tables import Column


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
