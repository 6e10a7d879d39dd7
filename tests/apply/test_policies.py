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
    MergeWith,
    NodePriority,
    TableRule,
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
        assert LWW.converges(nodes=nodes).found.endswith("have equal rows in the end")
        for policy in (
            ApplyRemote(),
            KeepLocal(),
            NodePriority(["a", "b"]),
            MergeWith(lambda local, remote: {}),
        ):
            finding = policy.converges(nodes=nodes)
            assert finding.severity == Severity.CRITICAL
            assert f"{nodes} nodes" in finding.found
            assert "can differ" in finding.found
            assert "LastUpdateWins" in finding.remedy
    with pytest.raises(ValueError, match="nodes must be >= 2, got 1"):
        LWW.converges(nodes=1)


def test_the_node_that_is_named_first_wins() -> None:
    policy = NodePriority(["main", "shop", "till"])
    main, shop, till, other = (Version(START, node) for node in ("main", "shop", "till", None))
    assert policy.decide(shop, main) is Decision.APPLY
    assert policy.decide(main, shop) is Decision.SKIP
    assert policy.decide(shop, till) is Decision.SKIP
    # Its own later change, a missing row, and a row of an unknown node.
    assert policy.decide(shop, shop) is Decision.APPLY
    assert policy.decide(None, till) is Decision.APPLY
    assert policy.decide(other, till) is Decision.APPLY
    with pytest.raises(ValueError, match="named twice"):
        NodePriority(["a", "a"])
    with pytest.raises(ValueError, match="nodes"):
        NodePriority(["a"])
    with pytest.raises(TypeError, match="a node is a str"):
        NodePriority([1, 2])  # type: ignore[list-item]


def test_a_function_merges_only_two_rows() -> None:
    policy = MergeWith(lambda local, remote: {})
    assert policy.decide(Version(START, "a"), Version(START, "b")) is Decision.MERGE
    assert policy.decide(None, Version(START, "b")) is Decision.APPLY
    with pytest.raises(TypeError, match="callable"):
        MergeWith("max")  # type: ignore[arg-type]


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


settings = partial(
    ApplySettings, name="one", publications=["p"], tables=None, conflicts=LWW, on_error="stop",
    copy=False, copy_workers=1, existing="refuse", truncate=True, origin="any", retries=1,
    reconnect=None, resume="origin",
)  # fmt: skip


def test_last_update_wins_needs_what_the_order_depends_on() -> None:
    last = settings(membership=membership())
    assert last.takes_own_only
    assert last.reads_commits
    assert last.stamps is not None
    assert (last.stamps.rank, last.stamps.by_time) == (2, True)
    by_row = settings(membership=membership(ties="row")).stamps
    assert by_row is not None
    assert by_row.rank is None
    with pytest.raises(ValueError, match="needs membership"):
        settings()
    with pytest.raises(ValueError, match="needs resume='origin'"):
        settings(membership=membership(), resume="table")
    with pytest.raises(ValueError, match="needs copy=False"):
        settings(membership=membership(), copy=True)
    with pytest.raises(ValueError, match="max_clock_skew"):
        LastUpdateWins(max_clock_skew=-1)


def test_priorities_are_the_ranks_of_the_members() -> None:
    first = settings(membership=membership(), conflicts=NodePriority(["berlin", "paris"]))
    assert first.ranks == {"berlin": 2, "paris": 1}
    assert first.stamps is not None
    assert (first.stamps.rank, first.stamps.by_time) == (1, False)
    assert not first.takes_own_only
    with pytest.raises(ValueError, match="does not name the node 'paris'"):
        settings(membership=membership(), conflicts=NodePriority(["berlin", "rome"]))
    with pytest.raises(ValueError, match="NodePriority needs membership"):
        settings(conflicts=NodePriority(["berlin", "rome"]))


def test_merged_rows_are_not_filtered_by_rules() -> None:
    merging = partial(settings, conflicts=MergeWith(lambda local, remote: {}), copy=True)
    assert merging(resume="table").merges
    assert not merging().reads_commits
    with pytest.raises(ValueError, match="MergeWith takes no rules"):
        merging(tables={"t": TableRule(where=lambda row: True)})
