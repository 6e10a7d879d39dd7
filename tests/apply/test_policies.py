"""Policies: the order of versions, decisions, and whether all nodes decide the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import permutations

import pytest
from hypothesis import given, strategies as st

from pgreplkit.apply import (
    ApplyRemote,
    Decision,
    KeepLocal,
    LastUpdateWins,
    Membership,
    Version,
)
from pgreplkit.apply.settings import ApplySettings
from pgreplkit.apply.versions import order
from pgreplkit.rows import Severity

START = datetime(2026, 1, 1, tzinfo=UTC)
LWW = LastUpdateWins()
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


def test_a_policy_reports_whether_it_converges() -> None:
    for nodes in (2, 3, 5):
        assert LWW.converges(nodes=nodes).severity == Severity.OK
        for policy in (ApplyRemote(), KeepLocal()):
            finding = policy.converges(nodes=nodes)
            assert finding.severity == Severity.CRITICAL
            assert f"{nodes} nodes" in finding.found
            assert "LastUpdateWins" in finding.remedy
    with pytest.raises(ValueError, match="nodes must be >= 2, got 1"):
        LWW.converges(nodes=1)


membership = partial(
    Membership, node="berlin", source="paris", ranks={"berlin": 1, "paris": 2}, origins={}
)


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


def test_last_update_wins_needs_what_the_order_depends_on() -> None:
    settings = partial(
        ApplySettings, name="one", publications=["p"], tables=None, conflicts=LWW, on_error="stop",
        copy=False, copy_workers=1, existing="refuse", truncate=True, origin="any", retries=1,
        reconnect=None,
    )  # fmt: skip
    assert settings(membership=membership(), resume="origin").takes_own_only
    with pytest.raises(ValueError, match="needs membership"):
        settings(resume="origin")
    with pytest.raises(ValueError, match="needs resume='origin'"):
        settings(membership=membership(), resume="table")
    with pytest.raises(ValueError, match="needs copy=False"):
        settings(membership=membership(), resume="origin", copy=True)
    with pytest.raises(ValueError, match="max_clock_skew"):
        LastUpdateWins(max_clock_skew=-1)
