"""The names of an upgrade's objects, and the steps of its operations."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from upgradefacts import GROUPS, JOURNALS, NAMES

from pgreplkit.errors import InvalidSlotName
from pgreplkit.plans.cluster import upgradesteps as do
from pgreplkit.plans.cluster.journal import Journal
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.cluster.upgrade import (
    Names,
    checked_upgrade_name,
    cutover_journal,
    forward_of,
    prepare_journal,
    rollback_journal,
)
from pgreplkit.plans.cluster.upgradegroups import TableGroup
from pgreplkit.values.tablename import TableName


@pytest.mark.parametrize(
    ("kind", "name", "wanted"),
    [
        ("publication", "shop_1", True),
        ("publication", "shop_1_back", True),
        ("subscription", "shop_2", True),
        ("publication", "shop_fence", False),
        ("publication", "shops_1", False),
        ("schema", "shop_fence", True),
        ("schema", "shop_1", False),
    ],
)
def test_the_objects_of_an_upgrade_are_known_by_kind_and_name(
    kind: str, name: str, wanted: bool
) -> None:
    assert NAMES.is_own(kind, name) is wanted


@given(
    *2 * [st.from_regex(r"[a-z0-9]{1,2}(_1|_2_back|_back|_fence|_copy){0,2}", fullmatch=True)],
    st.integers(1, 11),
    st.integers(1, 11),
)
def test_upgrades_of_different_names_have_no_object_in_common(
    name: str, other: str, count: int, others: int
) -> None:
    def objects(names: Names, count: int) -> list[str]:
        forward = [names.forward(number) for number in range(1, count + 1)]
        return [*forward, *map(names.back, forward), names.copy]

    own, theirs = Names(upgrade=name), Names(upgrade=other)
    there = [*objects(own, count), *objects(theirs, others)]
    if name != other:
        assert own.fence != theirs.fence
        assert {*objects(own, count)}.isdisjoint(objects(theirs, others))
        assert own.own_in(there) == objects(own, count)
        assert theirs.forward_in(there) == [theirs.forward(n) for n in range(1, others + 1)]
        assert forward_of([], own.back_in(there)) == own.forward_in(there)


def test_a_name_leaves_room_for_suffixes() -> None:
    assert checked_upgrade_name("shop18") == "shop18"
    for name in ("", "Shop", "a" * 41, "a-b", "pg_shop"):
        with pytest.raises(InvalidSlotName):
            checked_upgrade_name(name)
    with pytest.raises(InvalidSlotName, match="it has 41 characters; expected at most 40") as long:
        checked_upgrade_name("a" * 41)
    assert "63" not in str(long.value)


def test_the_objects_of_an_upgrade_are_found_by_their_names() -> None:
    there = ["shop_10", "shop_2", "shop_2_back", "shop_x", "other_1", "shop"]
    assert NAMES.forward_in(there) == ["shop_2", "shop_10"]
    assert NAMES.back_in(there) == ["shop_2_back"]
    assert NAMES.own_in(iter(there)) == ["shop_2", "shop_10", "shop_2_back"]


def test_objects_of_others_with_numbers_as_names_are_not_those_of_an_upgrade() -> None:
    assert NAMES.own_in(["1", "7_back", "shop_01", "shop_\N{ARABIC-INDIC DIGIT ONE}"]) == []


def at(journal: Journal, kind: type[Step], node: str) -> int:
    [number] = [n for n, s in enumerate(journal.steps) if isinstance(s, kind) and s.node == node]
    return number


@pytest.mark.parametrize("journal", JOURNALS, ids=lambda journal: journal.operation)
def test_no_prefix_of_a_move_or_of_its_undo_leaves_both_servers_open(journal: Journal) -> None:
    source, target = ("new", "old") if "rollback" in journal.operation else ("old", "new")
    fenced, opened = at(journal, do.FenceTables, source), at(journal, do.OpenTables, target)
    assert fenced < at(journal, do.WaitApplied, target) < at(journal, do.SetSequences, target)
    assert at(journal, do.SetSequences, target) < at(journal, do.StopSubscriptions, target) < opened
    assert opened < at(journal, do.Redirect, target)
    for done in range(len(journal.steps) + 1):
        prefix = journal.steps[:done]
        open_now = {source} if fenced >= done else set()
        if opened < done:
            open_now.add(target)
            # Undoing would open the source, too.
            assert any(step.is_final for step in prefix)
        assert len(open_now) <= 1
        states = journal.writes
        assert states is not None
        state = states.states[done]
        if done <= fenced:
            assert state.startswith(f"the {source} server accepts writes")
        elif done > opened:
            assert state == f"the {target} server accepts writes"
        else:
            assert state.startswith("no server accepts writes")


def test_the_way_back_is_armed_while_nothing_writes() -> None:
    journal = cutover_journal(NAMES, GROUPS, way_back=True)
    slots = at(journal, do.MakeBackSlots, "new")
    assert at(journal, do.StopSubscriptions, "new") < slots < at(journal, do.OpenTables, "new")
    assert at(journal, do.FenceTables, "old") > max(
        n for n, step in enumerate(journal.steps) if isinstance(step, do.PublishTables)
    )
    back = rollback_journal(NAMES, GROUPS)
    armed = at(back, do.ArmForward, "new")
    assert at(back, do.StopSubscriptions, "old") < armed
    assert armed < at(back, do.OpenTables, "old") < at(back, do.Redirect, "old")
    # Steps that wait for others come when the clients have moved.
    for moved, node in ((journal, "new"), (back, "old")):
        assert at(moved, do.RemoveFence, node) == len(moved.steps) - 1


def test_a_rollback_fences_tables_that_were_added_to_the_way_back() -> None:
    fence = next(
        step
        for step in rollback_journal(NAMES, GROUPS, ["public.c", "public.late"]).steps
        if isinstance(step, do.FenceTables)
    )
    assert fence.tables == ("public.a", "public.b", "public.c", "public.late")


def test_indexes_are_built_after_the_copy_and_keys_before() -> None:
    groups = [TableGroup(tables=(TableName("public", name),), bytes=1) for name in "ab"]
    steps = prepare_journal(NAMES, groups, copies_schema=True).steps
    kinds = [type(step) for step in steps]
    order = [
        do.CopyTables,
        do.FenceTables,
        do.PublishTables,
        do.KeepSchema,
        do.Subscribe,
        do.WaitCopied,
        do.StopSubscriptions,
        do.CopyIndexes,
        do.StartSubscriptions,
        do.Analyze,
    ]
    assert sorted(order, key=kinds.index) == order
    assert (kinds[-1], steps[-1].node) == (do.KeepSchema, "new")
    alone = prepare_journal(NAMES, groups, copies_schema=False).steps
    assert {do.CopyTables, do.CopyIndexes} & {*map(type, alone)} == set()
