"""The order of versions, which is the same on every node."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pgreplkit.apply import (
    Decision,
    LastUpdateWins,
    Version,
)
from pgreplkit.apply.versions import order

LWW = LastUpdateWins()
START = datetime(2026, 1, 1, tzinfo=UTC)


TIMES = st.integers(0, 2).map(lambda micros: START + timedelta(microseconds=micros))


RANKED = st.builds(Version, TIMES | st.none(), st.just("a"), st.integers(0, 2))


BY_ROW = st.builds(
    Version, TIMES | st.none(), st.none(), st.none(), st.sampled_from("ab") | st.none()
)


@given(st.lists(RANKED, min_size=1, max_size=4) | st.lists(BY_ROW, min_size=1, max_size=4))
def test_every_order_of_arrival_ends_with_the_same_version(versions: list[Version]) -> None:
    ends = set()
    for arrivals in permutations(versions):
        local: Version | None = None
        for remote in arrivals:
            if LWW.decide(local, remote) is Decision.APPLY:
                local = remote
        assert local is not None
        ends.add(order(local))
    assert ends == {max(map(order, versions))}


def test_the_later_commit_wins_and_then_the_rank() -> None:
    early = Version(START, "rome", 3)
    late = Version(START + timedelta(microseconds=1), "berlin", 1)
    tied = Version(START, "berlin", 1)
    assert LWW.decide(early, late) is Decision.APPLY
    assert LWW.decide(late, early) is Decision.SKIP
    assert LWW.decide(tied, early) is Decision.APPLY
    assert LWW.decide(early, tied) is Decision.SKIP
    # The later one of two changes of one node.
    assert LWW.decide(early, early) is Decision.APPLY


def test_an_unknown_time_is_older_than_any_known_time() -> None:
    unknown, old = Version(None, None), Version(datetime(1970, 1, 1, tzinfo=UTC), "a", 0)
    assert LWW.decide(unknown, old) is Decision.APPLY
    assert LWW.decide(old, unknown) is Decision.SKIP
    assert LWW.decide(None, unknown) is Decision.APPLY


def test_without_ranks_a_deletion_wins_over_a_row_of_equal_time() -> None:
    row, deleted = Version(START, None, None, "(1,a)"), Version(START, None)
    assert LWW.decide(row, deleted) is Decision.APPLY
    assert LWW.decide(deleted, row) is Decision.SKIP
    assert LWW.decide(row, Version(START, None, None, "(1,b)")) is Decision.APPLY


@pytest.mark.parametrize(
    ("time", "rank", "error"),
    [
        (START.replace(tzinfo=None), 1, "commit_time needs a time zone"),
        ("2026-01-01", 1, "commit_time must be a datetime, not str"),
        (START, True, "rank must be an int, not bool"),
        (START, 1.5, "rank must be an int, not float"),
    ],
)
def test_versions_that_could_not_be_compared_are_refused(time: Any, rank: Any, error: str) -> None:
    with pytest.raises(TypeError, match=error):
        Version(time, "a", rank)
