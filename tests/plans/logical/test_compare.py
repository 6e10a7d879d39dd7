"""The verdict about differences, for all that can happen between two readings."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, strategies as st

from pgreplkit import TableName
from pgreplkit.plans.logical.compare import (
    SEVERAL,
    ComparedPart,
    Key,
    Observation,
    Tally,
    Verdict,
    classify,
    replica_hashes,
)
from pgreplkit.rows import DiffKind, RowDiff

keys = st.sampled_from([("a",), ("b",), ("c",)])
hashes = st.dictionaries(keys, st.integers(0, 2))
looks = st.dictionaries(keys, st.tuples(st.integers(0, 2), st.sampled_from("xy")))


def seen(look: dict[Key, tuple[int, str]]) -> Observation:
    """Rows with one hash each, and the write that made them."""
    return Observation(
        {k: hash for k, (hash, _) in look.items()}, {k: by for k, (_, by) in look.items()}
    )


@given(looks, hashes, looks)
def test_each_key_is_equal_different_or_undecided(
    before: dict[Key, tuple[int, str]], replica: dict[Key, int], after: dict[Key, tuple[int, str]]
) -> None:
    diffs, changing = classify(seen(before), replica, seen(after))
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
        diffs, _ = classify(first, replica, last)
        # A row may come and go between two readings, so a difference has to be seen twice.
        assert {*diffs.values()} <= {DiffKind.EXTRA}
        assert not diffs.keys() & (before.keys() | after.keys())


@given(st.lists(st.tuples(keys, st.integers(0, 2))))
def test_a_key_that_occurs_repeatedly_is_like_no_single_row(
    records: list[tuple[Key, int]],
) -> None:
    replica, repeated = replica_hashes(records)
    assert replica.keys() == {key for key, _ in records}
    assert repeated == {key for key in replica if [k for k, _ in records].count(key) > 1}
    assert all((replica[key] == SEVERAL) == (key in repeated) for key in replica)


difference_kinds = st.sampled_from([DiffKind.MISSING, DiffKind.EXTRA, DiffKind.DIFFERENT])
outcomes = st.lists(st.tuples(st.dictionaries(keys, difference_kinds), st.frozensets(keys)))


@given(outcomes)
def test_a_difference_counts_when_two_looks_in_a_row_see_it(
    outcomes: list[tuple[dict[Key, DiffKind], frozenset[Key]]],
) -> None:
    verdict = Verdict()
    for diffs, changing in outcomes:
        verdict.add(diffs, {*changing} - diffs.keys())
    looks = [diffs for diffs, _ in outcomes]
    for key, kind in verdict.confirmed.items():
        assert any(one.get(key) == kind == other.get(key) for one, other in pairwise(looks))
    assert not verdict.confirmed.keys() & {*verdict.doubtful}


@given(st.lists(st.builds(ComparedPart, st.integers(0, 9), st.booleans())), st.integers(0, 20))
def test_progress_counts_every_range_once(parts: list[ComparedPart], estimated: int) -> None:
    tally = Tally(3, estimated)
    table = TableName("public", "one")
    progress = [tally.add(table, part) for part in parts]
    assert [one.rows for one in progress] == [part.rows for part in parts]
    for place, one in enumerate(progress, 1):
        assert one.rows_done == sum(part.rows for part in parts[:place])
        assert one.tables_done == sum(part.is_last for part in parts[:place])
        assert one.rows_estimated >= max(one.rows_done, estimated)


def test_long_values_are_shortened_when_they_are_printed() -> None:
    def text(one: str | None, other: str | None) -> str:
        diff = RowDiff(
            table=TableName("public", "t"),
            kind=DiffKind.DIFFERENT,
            key={"id": "1"},
            publisher={"x": one},
            subscriber={"x": other},
        )
        return " ".join(str(diff).split())

    assert text("a", None) == "public.t: different: id=1; x: 'a' and None"
    long = "a" * 500_000
    assert len(text(long, "b" * 500_000)) < 300
    # They differ where neither is shown.
    assert "from character 500001 on" in text(f"{long}b{long}", f"{long}c{long}")
