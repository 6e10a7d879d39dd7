"""The groups of tables of an upgrade."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from upgradefacts import table

from pgreplkit.plans.cluster.upgradegroups import TableGroup, chosen_groups, groups_of
from pgreplkit.values.tablename import TableName


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=8),
    st.integers(1, 5),
)
def test_groups_have_each_table_once_and_keep_joined_tables_together(
    sizes: list[int], joins: list[tuple[int, int]], count: int
) -> None:
    joined = {a: [f"t{b}" for x, b in joins if x == a] for a, _ in joins}
    tables = [table(f"t{n}", size, tuple(joined.get(n, ()))) for n, size in enumerate(sizes)]
    groups = groups_of(tables, count)
    assert chosen_groups(groups, tables) == groups
    assert len(groups) <= count
    place = {name: number for number, group in enumerate(groups) for name in group.tables}
    known = {one.table for one in tables}
    assert all(
        place[one.table] == place[other] for one in tables for other in one.joined if other in known
    )
    assert sum(group.bytes for group in groups) == sum(sizes)


def test_partitions_stay_together_and_their_root_is_not_copied() -> None:
    root = table("root", kind="p")
    leaves = [table(f"leaf{n}", 10, ("root",)) for n in (1, 2)]
    groups = groups_of([root, *leaves, table("other", 30)], 2)
    assert [[t.name for t in group.tables] for group in groups] == [["other"], ["leaf1", "leaf2"]]


def test_groups_that_leave_out_a_table_or_have_it_twice_are_refused() -> None:
    a, b = table("a"), table("b")
    wrong = [TableGroup(tables=(a.table, a.table, TableName("public", "x")), bytes=0)]
    found = r"two groups: public.a; in no group: public.b; .*x \(not a permanent table\)"
    with pytest.raises(ValueError, match=found):
        chosen_groups(wrong, [a, b])
    root = table("root", kind="p")
    with pytest.raises(ValueError, match=r"public.root \(its partitions are copied\)"):
        chosen_groups([TableGroup(tables=(a.table, root.table), bytes=0)], [a, root])
    # A publication without tables is a syntax error, long after the plan has begun.
    whole = TableGroup(tables=(a.table,), bytes=0)
    with pytest.raises(ValueError, match="group 2 has no tables"):
        chosen_groups([whole, TableGroup(tables=(), bytes=0)], [a])
    with pytest.raises(TypeError, match=r"those of groups\(\), not str"):
        chosen_groups(["abc"], [a])  # type: ignore[list-item]
    for wrong_type in ("abc", 3):
        with pytest.raises(TypeError, match="groups takes several items, not one"):
            chosen_groups(wrong_type, [a])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="count"):
        groups_of([a], 0)
