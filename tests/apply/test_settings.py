"""The arguments of an applier, checked before it connects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from applyfacts import membership

from pgreplkit import AsyncPrimary, Primary, TableName
from pgreplkit.apply import (
    Applier,
    AsyncApplier,
    DeltaColumns,
    KeepLocal,
    LastUpdateWins,
    MergeWith,
    NodePriority,
    TableRule,
)
from pgreplkit.apply.settings import ApplySettings
from pgreplkit.errors import ApplyError
from pgreplkit.values.tablename import AnyTable

DELTAS = DeltaColumns({"t": ["n"]})
settings = partial(
    ApplySettings, name="one", publications=["p"], tables=None, conflicts=LastUpdateWins(),
    on_error="stop",
    copy=False, copy_workers=1, existing="refuse", truncate=True, origin="any", retries=1,
    reconnect=None, resume="origin",
)  # fmt: skip


def test_last_update_wins_needs_what_the_order_depends_on() -> None:
    last = settings(membership=membership())
    assert last.takes_own_only
    assert last.reads_commits
    assert last.stamps is not None
    assert (last.stamps.rank, last.stamps.by_time) == (2, True)
    by_row = settings(membership=membership(ties="row")).stamps
    assert by_row is not None
    assert by_row.rank is None
    with pytest.raises(ValueError, match="needs membership"):
        settings()
    with pytest.raises(ValueError, match="needs resume='origin'"):
        settings(membership=membership(), resume="table")
    with pytest.raises(ValueError, match="needs copy=False"):
        settings(membership=membership(), copy=True)
    with pytest.raises(ValueError, match="max_clock_skew"):
        LastUpdateWins(max_clock_skew=-1)


def test_a_group_is_refused_where_each_commit_counts() -> None:
    assert settings(conflicts=KeepLocal(), group=50).group == 50
    with pytest.raises(ValueError, match="group must be >= 1, got 0"):
        settings(conflicts=KeepLocal(), group=0)
    for policy in (LastUpdateWins(), NodePriority(["berlin", "paris"])):
        with pytest.raises(ValueError, match="needs group=1: transactions that are applied"):
            settings(membership=membership(), conflicts=policy, group=2)
    with pytest.raises(ValueError, match="MergeWith needs group=1"):
        settings(conflicts=MergeWith(lambda local, remote: {}), group=2)
    with pytest.raises(ValueError, match="KeepLocal needs group=1"):
        settings(conflicts=KeepLocal(), membership=membership(), group=2)


def test_priorities_are_the_ranks_of_the_members() -> None:
    first = settings(membership=membership(), conflicts=NodePriority(["berlin", "paris"]))
    assert first.ranks == {"berlin": 2, "paris": 1}
    assert first.stamps is not None
    assert (first.stamps.rank, first.stamps.by_time) == (1, False)
    assert not first.takes_own_only
    with pytest.raises(ValueError, match="does not name the node 'paris'"):
        settings(membership=membership(), conflicts=NodePriority(["berlin", "rome"]))
    with pytest.raises(ValueError, match="NodePriority needs membership"):
        settings(conflicts=NodePriority(["berlin", "rome"]))


def test_merged_rows_are_not_filtered_by_rules() -> None:
    merging = partial(settings, conflicts=MergeWith(lambda local, remote: {}), copy=True)
    assert merging(resume="table").merges
    assert not merging().reads_commits
    with pytest.raises(ValueError, match="MergeWith takes no rules"):
        merging(tables={"t": TableRule(where=lambda row: True)})
    with pytest.raises(ValueError, match="DeltaColumns takes no rules"):
        settings(conflicts=DELTAS, tables={"t": TableRule(where=lambda row: True)})


def test_a_lost_slot_has_the_remedy_of_an_applier_or_of_a_mesh() -> None:
    alone = settings(conflicts=KeepLocal()).lost_slot_remedy
    assert alone == "drop() the applier, and copy the tables again"
    assert "leave the mesh" in settings(membership=membership()).lost_slot_remedy
    assert alone == settings(conflicts=KeepLocal()).missing_slot_remedy
    assert alone == settings(conflicts=KeepLocal()).lost_source_remedy
    assert "plan_forget()" in settings(membership=membership()).missing_slot_remedy
    assert "plan_remove()" in settings(membership=membership()).lost_source_remedy


def test_delta_columns_are_known_to_the_statements() -> None:
    stamps = settings(conflicts=DELTAS, membership=membership()).stamps
    assert stamps is not None
    assert (stamps.rank, stamps.deltas) == (2, {TableName("public", "t"): ("n",)})


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"tables": ["t"]}, "tables must be a mapping of tables to rules, not list"),
        (
            {"conflicts": KeepLocal},
            "such as LastUpdateWins(), not the class KeepLocal",
        ),
        ({"retries": True}, "retries must be an int, not bool"),
        ({"retries": -1}, "retries must be >= 0, got -1"),
        ({"copy": "no"}, "copy must be True or False, not str"),
        ({"truncate": None}, "truncate must be True or False, not NoneType"),
        ({"reconnect": -1}, "reconnect must be finite and >= 0, got -1"),
        ({"existing": "keep"}, "existing must be one of refuse, merge, truncate, got 'keep'"),
    ],
)
def test_an_applier_refuses_wrong_arguments_before_it_connects(
    arguments: dict[str, Any], found: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(found)):
        Applier("", "", "a", publications=["p"], **arguments)


def test_an_applier_refuses_servers_of_the_other_kind() -> None:
    theirs: Any = object.__new__(AsyncPrimary)
    with pytest.raises(TypeError, match=r"must be a Server, not AsyncPrimary; connect\(\)"):
        Applier(theirs, "", "a", publications=["p"])
    theirs = object.__new__(Primary)
    with pytest.raises(TypeError, match=r"must be an AsyncServer, not Primary; aconnect\(\)"):
        AsyncApplier("", theirs, "a", publications=["p"])


def test_an_applier_within_a_database_needs_other_tables() -> None:
    table = TableName("public", "t")
    unmapped: list[Mapping[AnyTable, TableRule]] = [{}, {"t": TableRule(where=bool)}]
    for rules in unmapped:
        settings = settings_with(rules)
        with pytest.raises(ApplyError, match=r"changes of public\.t would be applied to itself"):
            settings.insist_on_other_tables([table])
    settings_with({"t": TableRule(to="copy_of_t")}).insist_on_other_tables([table])


def settings_with(rules: Mapping[AnyTable, TableRule]) -> ApplySettings:
    return ApplySettings(
        name="a",
        publications=["p"],
        tables=rules,
        conflicts=None,
        on_error="stop",
        copy=True,
        copy_workers=2,
        existing="truncate",
        truncate=True,
        resume="origin",
        origin="any",
        retries=0,
        reconnect=None,
    )
