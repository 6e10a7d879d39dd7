"""When a difference is one: judged on all that can happen between the looks."""

from __future__ import annotations

from hypothesis import given, strategies as st

from pgreplkit import DiffKind
from pgreplkit.plans.comparing import Key, judged

hashes = st.dictionaries(st.sampled_from([("a",), ("b",), ("c",)]), st.integers(0, 2))


@given(hashes, hashes, hashes)
def test_each_key_is_the_same_or_different_or_undecided(
    before: dict[Key, int], replica: dict[Key, int], after: dict[Key, int]
) -> None:
    diffs, changing = judged(before, replica, after)
    assert not diffs.keys() & changing
    for key in [("a",), ("b",), ("c",)]:
        here, there, later = before.get(key), replica.get(key), after.get(key)
        assert (key in changing) == (here != there and here != later)
        if key in diffs:
            assert here == later != there
            assert (diffs[key] is DiffKind.MISSING) == (there is None)
            assert (diffs[key] is DiffKind.EXTRA) == (here is None)


@given(hashes, hashes)
def test_a_replica_that_has_either_state_is_never_wrong(
    before: dict[Key, int], after: dict[Key, int]
) -> None:
    for replica in (before, after):
        diffs, _ = judged(before, replica, after)
        assert not diffs
