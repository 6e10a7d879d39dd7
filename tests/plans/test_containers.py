"""Reports and topologies as containers: items, keys, and typed errors for unknown keys."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pgreplkit import TableName
from pgreplkit.changes import named_rows
from pgreplkit.errors import CheckNotFound, ColumnNotFound, NodeNotFound
from pgreplkit.rows import (
    ClusterNode,
    Drift,
    DriftKind,
    Finding,
    NodeSample,
    Readiness,
    SchemaDrift,
    Severity,
    Topology,
    WatchSample,
)

A, B = ClusterNode(name="a"), ClusterNode(name="b")


def finding(check: str, severity: Severity) -> Finding:
    return Finding(check=check, severity=severity, found="x", needed="y")


def test_a_topology_contains_nodes_and_their_names() -> None:
    topology = Topology((A,))
    assert ([*topology], len(topology), topology["a"]) == ([A], 1, A)
    assert "a" in topology
    assert A in topology
    assert "b" not in topology
    assert B not in topology
    with pytest.raises(NodeNotFound, match=r"use one of a$"):
        topology["b"]


def test_a_sample_contains_servers_and_their_names() -> None:
    one = NodeSample(name="a")
    sample = WatchSample(taken_at=datetime.now(UTC), nodes={"a": one})
    assert ([*sample], len(sample), sample["a"]) == ([one], 1, one)
    assert "a" in sample
    assert one in sample
    assert "b" not in sample
    with pytest.raises(NodeNotFound, match=r"use one of a$"):
        sample["b"]


def test_readiness_contains_findings_and_their_checks_and_is_true_if_ready() -> None:
    good, bad = finding("wal_level", Severity.WARNING), finding("slots", Severity.CRITICAL)
    ready, failing = Readiness(findings=(good,)), Readiness(findings=(good, bad))
    assert ready
    assert not failing
    assert Readiness(findings=())
    assert ([*failing], len(failing), failing["slots"]) == ([good, bad], 2, bad)
    assert "slots" in failing
    assert bad in failing
    assert "slots" not in ready
    with pytest.raises(CheckNotFound, match=r"could not find check 'slots'.*use one of wal_level$"):
        ready["slots"]


def test_drift_contains_differences_and_their_kinds() -> None:
    one = Drift(
        kind=DriftKind.TABLE_MISSING,
        severity=Severity.CRITICAL,
        table=TableName("public", "t"),
        name="t",
        found="no table",
    )
    drift = SchemaDrift(drifts=(one,))
    assert ([*drift], len(drift), drift[DriftKind.TABLE_MISSING]) == ([one], 1, (one,))
    assert DriftKind.TABLE_MISSING in drift
    assert one in drift
    assert DriftKind.COLUMN_EXTRA not in drift
    assert not SchemaDrift(drifts=())


def test_a_row_names_its_columns_if_one_is_unknown() -> None:
    row = named_rows(("id", "name"))((1, "Ada"))
    with pytest.raises(ColumnNotFound, match=r"could not find column 'age'.*use one of id, name$"):
        row["age"]
    with pytest.raises(KeyError):
        row["age"]
