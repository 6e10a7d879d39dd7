"""The members of servers that all write."""

from __future__ import annotations

from typing import Any

import pytest
from applyfacts import membership


def test_a_membership_is_checked() -> None:
    assert membership(origins={"pgreplkit_x": "paris"}).ties == "rank"
    with pytest.raises(ValueError, match="two nodes have the rank 1"):
        membership(ranks={"berlin": 1, "paris": 1})
    with pytest.raises(ValueError, match="source is 'paris', which has no rank; known are berlin"):
        membership(ranks={"berlin": 1})
    with pytest.raises(ValueError, match="the origin 'x' is 'rome'"):
        membership(origins={"x": "rome"})
    with pytest.raises(ValueError, match="node and source are the same: 'paris'"):
        membership(node="paris")
    with pytest.raises(ValueError, match="ties must be one of rank, row, got 'luck'"):
        membership(ties="luck")
    with pytest.raises(ValueError, match="rank of 'berlin' must be an int >= 0, got -1"):
        membership(ranks={"berlin": -1, "paris": 2})


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"node": ["a"]}, "a node must be a str, not list"),
        ({"source": None}, "a node must be a str, not NoneType"),
        ({"ranks": {1: 1}}, "a node must be a str, not int"),
        ({"origins": {"o": ["a"]}}, "the node of the origin 'o' must be a str, not list"),
        ({"origins": {1: "berlin"}}, "an origin must be a str, not int"),
        ({"origins": {"": "berlin"}}, "an origin must not be empty or contain NUL"),
        ({"node": "a\0"}, "a node must not be empty or contain NUL"),
    ],
)
def test_names_of_a_membership_are_checked(changes: dict[str, Any], found: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"the name of {found}"):
        membership(**changes)
