"""Policies: the order of versions, decisions, and whether all nodes decide the same."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pgreplkit.apply import (
    ApplyRemote,
    Decision,
    KeepLocal,
    LastUpdateWins,
    MergeWith,
    NodePriority,
    Version,
)
from pgreplkit.rows import Severity

START = datetime(2026, 1, 1, tzinfo=UTC)
LWW = LastUpdateWins()


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
    with pytest.raises(TypeError, match="a node must be a str"):
        NodePriority([1, 2])  # type: ignore[list-item]


def test_a_function_merges_only_two_rows() -> None:
    policy = MergeWith(lambda local, remote: {})
    assert policy.decide(Version(START, "a"), Version(START, "b")) is Decision.MERGE
    assert policy.decide(None, Version(START, "b")) is Decision.APPLY
    with pytest.raises(TypeError, match="callable"):
        MergeWith("max")  # type: ignore[arg-type]
