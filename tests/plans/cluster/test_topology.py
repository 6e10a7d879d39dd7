"""Topology: upstreams, the tree, and the best candidate, from the state of nodes."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN, TimelineHistory
from pgreplkit.errors import ConnectionFailed, SameServer, ServerError, SplitBrain
from pgreplkit.plans.cluster.failover import failover_candidate
from pgreplkit.rows import (
    ClusterNode,
    RepmgrNode,
    RepmgrType,
    SenderState,
    Severity,
    SyncState,
    Topology,
    Upstream,
    WalSender,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def sender(name: str, sync: SyncState = SyncState.ASYNC, pid: int = 1) -> WalSender:
    return WalSender(
        pid=pid,
        usesysid=None,
        usename=None,
        application_name=name,
        client_addr=None,
        client_hostname=None,
        client_port=None,
        backend_start=NOW,
        backend_xmin=None,
        state=SenderState.STREAMING,
        sent_lsn=None,
        write_lsn=None,
        flush_lsn=None,
        replay_lsn=None,
        write_lag=None,
        flush_lag=None,
        replay_lag=None,
        sync_priority=0,
        sync_state=sync,
        current_lsn=LSN(0),
    )


def primary(name: str, *senders: WalSender, timeline: int = 1, **more: object) -> ClusterNode:
    return ClusterNode(
        name=name,
        host=name,
        port=5432,
        system_id=7,
        timeline=timeline,
        is_primary=True,
        lsn=LSN(100),
        senders=senders,
        **more,  # type: ignore[arg-type]
    )


def standby(
    name: str, source: str | None, *, lsn: int = 100, timeline: int = 1, by_name: bool = False
) -> ClusterNode:
    upstream = None
    if source is not None:
        host = "a virtual address" if by_name else source
        upstream = Upstream(host=host, port=5432, user="r", application_name=name, slot_name=None)
    return ClusterNode(
        name=name,
        host=name,
        port=5432,
        system_id=7,
        timeline=timeline,
        is_primary=False,
        lsn=LSN(lsn),
        receives_from=upstream,
    )


def test_an_upstream_is_found_by_address_or_by_name() -> None:
    topology = Topology.of(
        [primary("a", sender("b"), sender("c")), standby("b", "a", by_name=True), standby("c", "a")]
    )
    assert [node.upstream for node in topology.nodes] == [None, "a", "a"]
    assert [line.split(":")[0] for line in str(topology).splitlines()] == ["a", "├── b", "└── c"]


def test_the_upstreams_of_a_standby_end_at_a_cycle() -> None:
    chain = Topology.of([primary("a"), standby("b", "a"), standby("c", "b")])
    assert [node.name for node in chain.upstreams("c")] == ["b", "a"]
    assert chain.upstreams("a") == []
    circle = Topology.of([standby("b", "c"), standby("c", "b")])
    assert [node.name for node in circle.upstreams("b")] == ["c", "b"]


def test_an_ambiguous_upstream_is_unknown() -> None:
    topology = Topology.of(
        [
            primary("a", sender("walreceiver")),
            standby("b", "elsewhere"),
            primary("c", sender("b"), timeline=2),
            primary("d", sender("b"), timeline=2),
        ]
    )
    assert topology["b"].upstream is None


def test_the_best_candidate_has_the_most_wal_and_ties_have_a_rule() -> None:
    writer = primary("p", sender("s3", SyncState.QUORUM), sender("s1"), sender("s2"))

    def best(*standbys: ClusterNode) -> str | None:
        candidate = Topology.of([writer, *standbys]).best_candidate()
        return None if candidate is None else candidate.name

    assert best() is None
    assert best(standby("s1", "p", lsn=5), standby("s2", "p", lsn=6)) == "s2"
    newer = standby("s1", "p", lsn=5, timeline=2)
    assert best(newer, standby("s2", "p", lsn=6)) == "s1"
    assert best(standby("s1", "p"), standby("s3", "p")) == "s3"
    assert best(standby("s1", None), standby("s2", "p")) == "s2"
    assert best(standby("s2", "p"), standby("s1", "p")) == "s1"


def test_the_system_of_most_nodes_is_the_clusters() -> None:
    stranger = ClusterNode(name="x", system_id=9, timeline=1, is_primary=True, lsn=LSN(1))
    down = ClusterNode(name="y", error=ConnectionFailed("connect", "refused\nindeed"))
    topology = Topology.of([stranger, primary("a"), standby("b", "a"), down])
    assert topology.system_id == 7
    assert topology.foreign_nodes == (stranger,)
    assert topology.down == (down,)
    assert topology.primary is not None
    assert str(topology).splitlines()[-2:] == [
        "y: down (could not connect: refused indeed)",
        "x: other system identifier (9)",
    ]
    assert Topology(()).system_id is None
    with pytest.raises(KeyError):
        topology["z"]


def test_two_primaries_with_unknown_histories_are_a_split_brain() -> None:
    topology = Topology.of([primary("a"), primary("b", timeline=2)])
    with pytest.raises(SplitBrain) as caught:
        _ = topology.primary
    assert (caught.value.timeline, caught.value.lsn) == (None, None)
    known = Topology.of(
        [
            primary("a", history=TimelineHistory(1)),
            primary("b", timeline=2, history=TimelineHistory.parse("1\t0/50\tx\n", timeline=2)),
        ]
    )
    with pytest.raises(SplitBrain, match="diverged on timeline 1 at 0/50"):
        _ = known.primary


@pytest.mark.parametrize("node", [primary("db1"), standby("db1", None)])
def test_two_names_for_one_server_make_no_topology(node: ClusterNode) -> None:
    node = attrs.evolve(node, started_at=NOW)
    stranger = attrs.evolve(node, name="other", system_id=8)
    # Each may be any server while it does not answer.
    down = [ClusterNode(name=name, error=ConnectionFailed("connect", "refused")) for name in "ab"]
    assert len(Topology.of([node, stranger, *down])) == 4
    with pytest.raises(SameServer, match="'vip' and 'db1' are one server"):
        Topology.of([attrs.evolve(node, name="vip"), node, stranger])


@given(st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=10))
def test_every_member_is_drawn_once_even_in_a_cycle(
    sources: list[int | None],
) -> None:
    nodes = [
        standby(f"n{n}", None if s is None or s >= len(sources) else f"n{s}")
        for n, s in enumerate(sources)
    ]
    lines = str(Topology.of(nodes)).splitlines()
    lines = [
        line for line in lines if not line.startswith("!! a circle of standbys without a primary")
    ]
    assert len(lines) == len(nodes)
    assert {line.lstrip("│├└─ ").split(":")[0] for line in lines} == {n.name for n in nodes}


def witness(name: str, kind: RepmgrType = RepmgrType.WITNESS) -> ClusterNode:
    """A server of its own, as repmgr registers it."""
    row = RepmgrNode(
        node_id=3,
        upstream_node_id=None,
        active=True,
        node_name=name,
        type=kind,
        location="default",
        priority=0,
        conninfo="",
        slot_name=None,
    )
    return ClusterNode(name=name, system_id=9, timeline=1, is_primary=True, lsn=LSN(1), repmgr=row)


@pytest.mark.parametrize("first", [True, False])
def test_a_witness_of_repmgr_is_neither_a_member_nor_a_problem(first: bool) -> None:
    others = [primary("a"), ClusterNode(name="b", error=ConnectionFailed("connect", "refused"))]
    topology = Topology.of([witness("w"), *others] if first else [*others, witness("w")])
    assert topology.primary is not None
    assert topology.primary.name == "a"
    assert topology.system_id == 7
    assert [node.name for node in topology.witnesses] == ["w"]
    assert topology.foreign_nodes == ()
    assert [finding.check for finding in topology.findings] == ["b"]
    assert "w: witness of repmgr" in str(topology).splitlines()


def test_a_witness_that_is_down_is_not_a_lost_server() -> None:
    error = ConnectionFailed("connect", "refused")
    lost = ClusterNode(name="w", error=error, repmgr=witness("w").repmgr)
    topology = Topology.of([primary("a"), lost])
    assert topology.down == ()
    assert topology.witnesses == (lost,)
    assert [(f.check, f.severity) for f in topology.findings] == [("w", Severity.WARNING)]
    assert "w: witness of repmgr, down (could not connect: refused)" in str(topology)


@given(st.permutations(["stranger", "primary", "down"]))
def test_a_tie_of_system_identifiers_keeps_the_cluster_that_was_known(order: list[str]) -> None:
    nodes = {
        "stranger": ClusterNode(name="x", system_id=9, timeline=1, is_primary=True, lsn=LSN(1)),
        "primary": primary("a"),
        "down": ClusterNode(name="y", error=ConnectionFailed("connect", "refused")),
    }
    topology = Topology.of([nodes[name] for name in order], known_system_id=7)
    assert topology.primary == nodes["primary"]
    assert topology.foreign_nodes == (nodes["stranger"],)


@given(st.permutations(["stranger", "primary"]))
def test_in_a_tie_the_servers_that_replicate_are_the_cluster(order: list[str]) -> None:
    nodes = {
        "stranger": ClusterNode(name="x", system_id=9, timeline=1, is_primary=True, lsn=LSN(1)),
        "primary": primary("a", sender("elsewhere")),
    }
    assert Topology.of([nodes[name] for name in order]).primary == nodes["primary"]


@pytest.mark.parametrize("order", ["wab", "baw", "wba"])
def test_in_a_tie_a_standby_of_a_lost_primary_is_the_cluster(order: str) -> None:
    lone = ClusterNode(name="w", system_id=9, timeline=1, is_primary=True, lsn=LSN(1))
    down = ClusterNode(name="a", error=ConnectionFailed("connect", "refused"))
    nodes = {"w": lone, "a": down, "b": standby("b", None)}
    topology = Topology.of([nodes[name] for name in order])
    assert topology.foreign_nodes == (lone,)
    assert failover_candidate(topology, "b").name == "b"
    with pytest.raises(ServerError, match=r"w has another system identifier \(9\)"):
        failover_candidate(topology, "w")
