"""The setup and the comparison of a mesh: the rows that differ."""

from __future__ import annotations

import attrs
from meshfacts import USERS

from pgreplkit.mesh import MeshSetup
from pgreplkit.plans.mesh.status import MeshComparison, MeshDifference, MeshVerdict


def test_setup_statements_are_printed_by_node() -> None:
    assert str(MeshSetup(nodes={"a": ("GRANT x",), "b": ()})) == "-- on a\nGRANT x;\n-- on b"


def test_a_comparison_is_equal_if_everything_was_seen_to_be() -> None:
    difference = MeshDifference(table=USERS, key={"id": "1"}, rows={"a": {"id": "1"}, "b": None})
    equal = MeshComparison(nodes=("a", "b"), tables=(USERS,), rows=3, differences=())
    assert equal.is_equal
    assert str(equal) == "3 rows of 1 table on a, b: 0 differ"
    assert not attrs.evolve(equal, undecided=("id=1",)).is_equal
    assert "1 changed at each look: id=1" in str(attrs.evolve(equal, undecided=("id=1",)))
    unequal = attrs.evolve(equal, differences=(difference,))
    assert not unequal.is_equal
    assert "public.users: id=1" in str(unequal)
    assert str(difference).splitlines() == [
        "public.users: id=1",
        "  a: {'id': '1'}",
        "  b: no row",
    ]


def test_long_values_are_shortened_when_they_are_printed() -> None:
    rows: dict[str, dict[str, str | None] | None]
    rows = {"a": {"id": "1", "x": "y" * 10_000}, "b": {"id": "1", "x": None}}
    difference = MeshDifference(table=USERS, key={"id": "1" * 1000}, rows=rows)
    text = " ".join(str(difference).split())
    assert len(text) < 500
    assert "(10000 characters)" in text
    assert "{'id': '1', 'x': None}" in text
    assert "(1000 characters)" in text.partition(" a: ")[0]
    assert difference.to_dict()["rows"] == rows


def test_a_row_differs_only_if_no_node_wrote_it_between_two_looks() -> None:
    key = ("1",)
    verdict = MeshVerdict()
    verdict.add([{key: ("x", "10")}, {key: ("y", "20")}])
    assert verdict.doubtful == [key]
    verdict.add([{key: ("z", "11")}, {key: ("y", "20")}])
    assert verdict.doubtful == [key]
    assert not verdict.differing
    verdict.add([{key: ("z", "11")}, {key: ("y", "20")}])
    assert verdict.differing == [key]
    assert not verdict.doubtful


def test_rows_that_become_equal_do_not_differ() -> None:
    verdict = MeshVerdict()
    verdict.add([{("1",): ("x", "1")}, {}])
    verdict.add([{("1",): ("x", "1")}, {("1",): ("x", "1")}])
    assert not verdict.doubtful
    assert not verdict.differing
