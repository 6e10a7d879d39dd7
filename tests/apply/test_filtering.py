"""Rows that the callables of a rule leave out or change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import pgoutputs as po
import pytest
from applyfacts import OWN, TEXT, column, target, transaction
from applyplans import planned, planner

from pgreplkit.apply import TableRule
from pgreplkit.apply.filtering import RuleFailed, replaced_columns
from pgreplkit.apply.statements import Kind
from pgreplkit.protocol.pgoutput.rows import UNCHANGED, Row


class Vague:
    """A value like an array of numpy: neither true nor false, and equal to nothing."""

    def __bool__(self) -> bool:
        raise ValueError("secret")

    def __ne__(self, other: object) -> Vague:  # type: ignore[override]
        return self

    __hash__ = None  # type: ignore[assignment]


class VagueMapping(dict[str, object]):
    def items(self) -> NoReturn:
        raise RuntimeError("secret")


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


def test_a_row_that_may_be_one_of_several_equal_ones_is_changed_by_itself() -> None:
    # Without a key, and with a key of NULL.
    for own in (target(*OWN.columns, keys=()), target(*OWN.columns, keys=(("n",),))):
        rule = TableRule(where=lambda row: row["id"] in range(5), change=lambda row: {"name": "x"})
        changes = (
            po.update(2, "b", None, old=[1, "a", None]),
            po.update(6, "b", None, old=[2, "b", None]),
            po.update(3, "b", None, old=[6, "b", None]),
            po.update(7, "b", None, old=[6, "b", None]),
            po.delete(3, "b", None, kind=b"O"),
            po.delete(7, "b", None, kind=b"O"),
        )
        assert planned(*changes, rule=rule, own=own, identity="f") == [
            (Kind.UPDATE, [b"1", b"x", None, b"2", b"x", None]),
            (Kind.DELETE, [b"2", b"x", None]),
            (Kind.INSERT, [b"3", b"x", None]),
            (Kind.DELETE, [b"3", b"x", None]),
        ]


def test_a_row_with_the_same_key_is_replaced_also_if_its_old_values_were_sent() -> None:
    # Columns that only the subscriber has keep their values then.
    changes = po.update(1, "b", 5, old=[1, "a", 5]), po.update(2, "b", 5, old=[1, "b", 5])
    rule = TableRule(where=lambda row: True)
    assert planned(*changes, rule=rule, identity="f") == [
        (Kind.UPSERT, [b"1", b"b", b"5"]),
        (Kind.DELETE, [b"1"]),
        (Kind.UPSERT, [b"2", b"b", b"5"]),
    ]
    # The key is that of the subscriber's table.
    with pytest.raises(RuleFailed, match="altered the key column 'id'"):
        planned(*changes, rule=TableRule(change=lambda row: {"id": 9}), identity="f")


def test_a_row_can_be_changed_or_left_out() -> None:
    def change(row: Row) -> Mapping[str, object] | None:
        return {"name": "hidden", "n": row["n"]} if row["n"] else None

    rule = TableRule(change=change)
    assert planned(po.insert(1, "a", 5), po.insert(2, "b", 0), rule=rule) == [
        (Kind.INSERT, [b"1", b"hidden", b"5"]),
    ]


def test_a_value_that_the_subscriber_computes_cannot_be_changed() -> None:
    own = target(column("id"), column("name", TEXT), column("n", is_generated=True))

    def steps(rule: TableRule) -> list[list[bytes | None]]:
        plan = planner(rule, own)
        changes = transaction(po.insert(1, "a", 5)).changes()
        return [[*values] for change in changes for _, values, _ in plan.steps(change)]

    with pytest.raises(RuleFailed, match="a value for 'n', which the subscriber computes"):
        steps(TableRule(change=lambda row: {"n": 6}))
    # A function that returns whole rows changes no value of the column.
    rule = TableRule(change=lambda row: {**row, "name": "b"})
    assert steps(rule) == [[b"1", b"b"]]


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (TableRule(where=lambda row: bool(row["nowhere"])), "where raised"),
        (TableRule(change=lambda row: {"id": 9}), "altered the key column 'id'"),
        (TableRule(change=lambda row: {"x": 9}), "the column 'x'"),
        (TableRule(change=lambda row: {"name": "\ud800"}), "change returned for 'name'"),
        (
            TableRule(change=lambda row: {"name": UNCHANGED}),
            "UNCHANGED for 'name', whose value was",
        ),
        (
            TableRule(change=lambda row: {"n": Vague()}),
            "'n' a value that .* compared, of type Vague",
        ),
        (
            TableRule(change=lambda row: VagueMapping()),
            "a mapping that raised RuntimeError in line",
        ),
        (TableRule(where=lambda row: Vague()), "where returned a Vague, which is neither true"),  # type: ignore[arg-type, return-value]
        (TableRule(change=lambda row: "x"), "not a mapping"),  # type: ignore[arg-type, return-value]
    ],
)
def test_a_callable_that_fails_is_reported(rule: TableRule, found: str) -> None:
    with pytest.raises(RuleFailed, match=found) as raised:
        planned(po.insert(1, "a", 5), rule=rule)
    assert "secret" not in str(raised.value)


def test_the_columns_that_a_function_has_replaced_are_known_without_another_call() -> None:
    returned: list[Mapping[str, object] | None] = [{"name": "other"}, {"n": 5}, None]
    seen: list[object] = []

    def change(row: Row) -> Mapping[str, object] | None:
        seen.append(row["id"])
        return returned[len(seen) - 1]

    plan = planner(TableRule(change=change))
    names = []
    for one in transaction(
        po.insert(1, "a", 5), po.insert(2, "a", 5), po.insert(3, "a", 5)
    ).changes():
        [*plan.steps(one)]
        reader = one[1][0]
        names.append(replaced_columns(plan.plan(reader), reader))
    assert names == [["name"], [], []]
    assert seen == [1, 2, 3]
