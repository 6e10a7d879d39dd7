"""Which names a role can have."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pgreplkit.errors import InvalidRoleName
from pgreplkit.values.rolename import checked_role_name


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_a_name_of_at_most_63_bytes_is_valid(name: str) -> None:
    if len(name.encode()) <= 63 and not name.startswith("pg_"):
        assert checked_role_name(name) == name
    else:
        with pytest.raises(InvalidRoleName):
            checked_role_name(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("a\0b", "NUL"),
        ("\ud800", "surrogate"),
        ("x" * 64, "63 bytes"),
        # 32 letters of two bytes each.
        ("ä" * 32, "63 bytes"),
        ("pg_mine", "reserved"),
    ],
)
def test_other_names_are_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(InvalidRoleName, match=reason):
        checked_role_name(name)


@pytest.mark.parametrize("name", [None, 5, b"r"])
def test_only_a_str_is_a_name(name: object) -> None:
    with pytest.raises(TypeError):
        checked_role_name(name)  # type: ignore[arg-type]
