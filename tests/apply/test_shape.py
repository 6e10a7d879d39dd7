"""A published table, and the columns to which it is written."""

from __future__ import annotations

import pytest
from applyfacts import INT, OWN, TEXT, column, matched, source, target

from pgreplkit.apply import TableRule
from pgreplkit.apply.shape import insist_on_named
from pgreplkit.catalog.logical.applytables import TargetTable
from pgreplkit.errors import SchemaMismatch
from pgreplkit.values.tablename import TableName


@pytest.mark.parametrize(
    ("own", "rule", "problem"),
    [
        (None, TableRule(), r"no table public\.t"),
        (target(column("id"), column("name", TEXT)), TableRule(), "no column 'n'"),
        (OWN, TableRule(constants={"x": 1}), "no column 'x', which is a constant"),
        (OWN, TableRule(columns={"nowhere": "n"}), "'nowhere', which is not published"),
        (OWN, TableRule(columns={"name": "n"}), "several published columns are mapped to 'n'"),
        (OWN, TableRule(columns={"id": None}), "'id'|replica identity"),
        (OWN, TableRule(key=("n",)), "'n' is not part of the replica identity"),
        (
            target(column("id"), column("name", TEXT), column("n", is_generated=True)),
            TableRule(columns={"n": "n"}),
            r"public\.t computes 'n', a generated column, and the rule maps 'n' to it",
        ),
        (
            target(*OWN.columns, column("g", is_generated=True)),
            TableRule(columns={"n": "g"}),
            r"computes 'g', a generated column, and the rule maps 'n' to it",
        ),
        (
            target(*OWN.columns, column("g", is_generated=True)),
            TableRule(constants={"g": None}),
            r"computes 'g', a generated column, and it is a constant of the rule",
        ),
        (
            target(*OWN.columns, column("extra", not_null=True)),
            TableRule(),
            "needs a value for 'extra'",
        ),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    own: TargetTable | None, rule: TableRule, problem: str
) -> None:
    with pytest.raises(SchemaMismatch, match=problem):
        matched(own=own, rule=rule)


def test_a_missing_column_comes_with_its_ddl() -> None:
    with pytest.raises(SchemaMismatch) as caught:
        matched(own=target(column("id"), column("name", TEXT)))
    assert caught.value.sql == ('ALTER TABLE public.t ADD COLUMN "n" integer',)


def test_only_values_that_mean_the_same_everywhere_are_sent_in_binary() -> None:
    assert matched().is_portable
    regclass = source(("id", INT, True), ("name", 2205, False), ("n", INT, False))
    assert not matched(regclass).is_portable
    wider = target(column("id", 20), column("name", TEXT), column("n"))
    assert not matched(own=wider).is_portable


def test_a_constant_that_cannot_be_sent_is_a_mismatch() -> None:
    with pytest.raises(SchemaMismatch, match="the constant 'name' is"):
        matched(rule=TableRule(columns={"name": None}, constants={"name": "\ud800"}))


def test_a_misspelt_column_of_a_rule_is_not_added_to_the_subscriber() -> None:
    own = target(column("id"), column("name", TEXT), column("number"))
    with pytest.raises(SchemaMismatch, match=r"no column 'n'; the rule maps .* 'nn'") as caught:
        matched(own=own, rule=TableRule(columns={"nn": "number"}))
    assert caught.value.sql == ()


def test_a_rule_names_what_the_subscriber_has() -> None:
    name = TableName("public", "t")
    rule = TableRule(to="u", columns={"a": "x", "n": None}, constants={"y": 1}, key=("id", "z"))
    with pytest.raises(SchemaMismatch, match=r"no table public\.u; correct the rule or the"):
        insist_on_named(name, None, rule)
    with pytest.raises(SchemaMismatch, match=r"no column 'x'; .*'y'; .*'z'; correct the rule"):
        insist_on_named(name, OWN, rule)
    insist_on_named(name, OWN, TableRule(columns={"old": None, "label": "name"}, key=("id",)))
    own = target(*OWN.columns, column("g", is_generated=True))
    # Published columns that were renamed since do not matter.
    for rule in (TableRule(columns={"old": "g"}), TableRule(constants={"g": 1})):
        with pytest.raises(SchemaMismatch, match="computes 'g', a generated column, and"):
            insist_on_named(name, own, rule)


def test_a_constant_that_is_null_needs_a_column_that_takes_it() -> None:
    own = target(column("id"), column("name", TEXT, not_null=True), column("n"))
    with pytest.raises(SchemaMismatch, match="the constant 'name' is NULL, and its column is NOT"):
        matched(own=own, rule=TableRule(columns={"name": None}, constants={"name": None}))
