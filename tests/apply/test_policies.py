"""Policies: the order of versions, decisions, and whether all nodes decide the same."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from pgreplkit.apply import (
    Applier,
    ApplyRemote,
    Decision,
    DeltaColumns,
    KeepLocal,
    LastUpdateWins,
    MergeWith,
    NodePriority,
    Policy,
    Version,
)
from pgreplkit.apply.policies import policy_text
from pgreplkit.changes import Row
from pgreplkit.mesh import Mesh
from pgreplkit.rows import Severity

START = datetime(2026, 1, 1, tzinfo=UTC)
LWW = LastUpdateWins()
TWO = "DeltaColumns(public.a: n; public.b: x, y)"


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


def larger(local: Row, remote: Row) -> dict[str, object]:
    return {}


class Larger:
    def __call__(self, local: Row, remote: Row) -> dict[str, object]:
        return {}


class Own:
    def decide(self, local: Version | None, remote: Version) -> Decision:
        return Decision.SKIP


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (LastUpdateWins(), "LastUpdateWins()"),
        (LastUpdateWins(60), "LastUpdateWins()"),
        (ApplyRemote(), "ApplyRemote()"),
        (NodePriority(["b", "a"]), "NodePriority(b, a)"),
        (MergeWith(larger), "MergeWith(larger)"),
        (MergeWith(Larger()), "MergeWith(Larger)"),
        (
            DeltaColumns({"b": ["y", "x"], "a": ["n"]}, max_clock_skew=60),
            TWO,
        ),
        (DeltaColumns({"public.a": ["n"], "B": ["x", "y"]}), TWO),
        (Own(), "Own()"),
    ],
)
def test_policies_that_decide_alike_are_recorded_alike(policy: Policy, text: str) -> None:
    assert policy_text(policy) == text


@pytest.mark.parametrize("policy", ["wins", LastUpdateWins, 7])
def test_a_mesh_refuses_an_object_that_is_not_a_policy(policy: Any) -> None:
    with pytest.raises(TypeError, match="policy must be a policy"):
        Mesh({"a": "port=1", "b": "port=1"}, tables=["t"], policy=policy)


@pytest.mark.parametrize("since", ["2026-01-01", date(2026, 1, 1), datetime(2026, 1, 1), 5])
def test_conflicts_are_listed_since_a_time_with_a_zone(since: Any) -> None:
    one = Applier("port=1", "port=1", "one", publications=["p"])
    mesh = Mesh({"a": "port=1", "b": "port=1"}, tables=["t"])
    for listed in (one.conflicts, mesh.conflicts):
        with pytest.raises(TypeError, match="since"):
            listed(since=since)


def test_a_difference_is_added_once() -> None:
    with pytest.raises(ValueError, match=r"a column of public\.t is named twice: n, n"):
        DeltaColumns({"t": ["n", "n"]})
    with pytest.raises(ValueError, match=r"a column of public\.t is empty or contains NUL: ''"):
        DeltaColumns({"t": [""]})


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
    with pytest.raises(ValueError, match="nodes has 1; it takes at least 2"):
        NodePriority(["a"])
    with pytest.raises(TypeError, match="a node must be a str"):
        NodePriority([1, 2])  # type: ignore[list-item]


def test_a_function_merges_only_two_rows() -> None:
    policy = MergeWith(lambda local, remote: {})
    assert policy.decide(Version(START, "a"), Version(START, "b")) is Decision.MERGE
    assert policy.decide(None, Version(START, "b")) is Decision.APPLY
    with pytest.raises(TypeError, match="callable"):
        MergeWith("max")  # type: ignore[arg-type]
