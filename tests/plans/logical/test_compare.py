"""The verdict about differences, for all that can happen between two readings."""

from __future__ import annotations

from hypothesis import given, strategies as st

from pgreplkit import DiffKind
from pgreplkit.plans.logical.compare import Key, Seen, judged

keys = st.sampled_from([("a",), ("b",), ("c",)])
hashes = st.dictionaries(keys, st.integers(0, 2))
looks = st.dictionaries(keys, st.tuples(st.integers(0, 2), st.sampled_from("xy")))


def seen(look: dict[Key, tuple[int, str]]) -> Seen:
    """Rows with one hash each, and the write that made them."""
    return Seen({k: hash for k, (hash, _) in look.items()}, {k: by for k, (_, by) in look.items()})


@given(looks, hashes, looks)
def test_each_key_is_equal_different_or_undecided(
    before: dict[Key, tuple[int, str]], replica: dict[Key, int], after: dict[Key, tuple[int, str]]
) -> None:
    diffs, changing = judged(seen(before), replica, seen(after))
    assert not diffs.keys() & changing
    for key in [("a",), ("b",), ("c",)]:
        (here, by), there = before.get(key, (None, None)), replica.get(key)
        _, later = after.get(key, (None, None))
        assert (key in changing) == (here != there and by != later)
        if key in diffs:
            assert (by, here) == (later, here)
            assert here != there
            assert (diffs[key] is DiffKind.MISSING) == (there is None)
            assert (diffs[key] is DiffKind.EXTRA) == (here is None)


@given(hashes, hashes, hashes)
def test_a_replica_with_an_earlier_state_is_never_different(
    before: dict[Key, int], between: dict[Key, int], after: dict[Key, int]
) -> None:
    # Each state belongs to another write, even if the row is the same again.
    first = seen({key: (hash, "first") for key, hash in before.items()})
    last = seen({key: (hash, "last") for key, hash in after.items()})
    for replica in (before, between, after):
        diffs, _ = judged(first, replica, last)
        # A row may come and go between two readings, so a difference has to be seen twice.
        assert {*diffs.values()} <= {DiffKind.EXTRA}
        assert not diffs.keys() & (before.keys() | after.keys())
