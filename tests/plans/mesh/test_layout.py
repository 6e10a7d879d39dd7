"""The names, tables and members of a mesh."""

from __future__ import annotations

import re

import pytest
from meshfacts import members

from pgreplkit.errors import InvalidTableName
from pgreplkit.mesh import Mesh
from pgreplkit.plans.mesh.layout import (
    MemberState,
    applier_name,
    checked_node,
    new_members,
    table_choice,
)
from pgreplkit.values.tablename import TableName


def test_a_mesh_refuses_names_that_would_make_two_streams_alike_or_too_long() -> None:
    for nodes, error in (
        ({"a_b": "", "c": ""}, "letters a-z and digits"),
        ({"Berlin": "", "paris": ""}, "letters a-z and digits"),
        ({"a" * 30: "", "b" * 30: ""}, "at most 50"),
        ({"berlin": ""}, "at least two nodes"),
    ):
        with pytest.raises(ValueError, match=error):
            Mesh(nodes, tables=["users"])
    with pytest.raises(ValueError, match="mesh has letters"):
        Mesh({"a": "", "b": ""}, tables=["users"], name="My mesh")
    with pytest.raises(TypeError, match="tables takes several"):
        Mesh({"a": "", "b": ""}, tables="users")
    assert applier_name("shop", "paris", "berlin") == "shop_paris_berlin"


def test_tables_are_named_or_those_of_a_schema() -> None:
    existing = [TableName("shop", "a"), TableName("shop", "b"), TableName("other", "c")]
    assert table_choice(["shop.*", "other.d"]).resolve(existing) == (
        TableName("other", "d"),
        TableName("shop", "a"),
        TableName("shop", "b"),
    )


@pytest.mark.parametrize("pattern", ["*.*", ".*", "a.b.*", 's"x.*', "1a.*", f"{'x' * 64}.*"])
def test_a_wrong_pattern_of_tables_is_shown_as_it_was_given(pattern: str) -> None:
    with pytest.raises(InvalidTableName, match=re.escape(f"{pattern!r}: schema.* means")):
        table_choice([pattern])


def test_a_node_that_comes_back_keeps_its_rank_and_a_new_one_gets_the_next() -> None:
    left = members("berlin", "paris").changed("paris", MemberState.LEFT)
    assert left.active == ("berlin",)
    assert left.changed("rome", MemberState.JOINING).ranks["rome"] == 3
    assert left.changed("paris", MemberState.ACTIVE).ranks["paris"] == 2
    assert left.origins("shop", "berlin") == {"pgreplkit_shop_paris_berlin": "paris"}


def test_ties_are_decided_by_rows_where_a_server_stores_no_origins() -> None:
    assert new_members(["a", "b"], [18, 13], MemberState.ACTIVE).ties == "row"
    assert new_members(["a", "b"], [18, 14], MemberState.ACTIVE).ties == "rank"


def test_the_name_of_a_node_is_a_text() -> None:
    assert checked_node("berlin") == "berlin"
    with pytest.raises(TypeError, match="the name of a node must be a str, not list"):
        checked_node(["berlin"])
