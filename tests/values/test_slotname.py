"""Which names a replication slot can have."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, strategies as st

from pgreplkit.errors import InvalidSlotName
from pgreplkit.values.slotname import checked_slot_name


@given(st.text("abyz_09", min_size=1, max_size=63))
def test_lower_case_letters_digits_and_underscores_are_valid(name: str) -> None:
    assert checked_slot_name(name) == name


@given(st.text(max_size=70))
@example("")
@example("x" * 63)
@example("x" * 64)
def test_all_other_names_are_refused_with_the_reason(name: str) -> None:
    if re.fullmatch("[a-z0-9_]{1,63}", name, re.ASCII):
        assert checked_slot_name(name) == name
        return
    reason = "empty" if not name else "longer" if len(name) > 63 else "characters"
    with pytest.raises(InvalidSlotName, match=reason):
        checked_slot_name(name)


@pytest.mark.parametrize("name", [None, 5, b"s"])
def test_only_a_str_is_a_name(name: object) -> None:
    with pytest.raises(TypeError):
        checked_slot_name(name)  # type: ignore[arg-type]
