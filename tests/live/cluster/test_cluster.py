"""Cluster: the replication topology, found from the servers alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any, cast

import psycopg
import pytest
from clusters import (
    TIMEOUT,
    Cluster as Pair,
    Clusters,
    conninfo_as,
    one,
    run,
    soon,
    wait_until,
)
from colours import Awaited, Colour
from htmlchecks import words_of
from relays import Relay

import pgreplkit
from pgreplkit import AsyncCluster, Cluster, command
from pgreplkit.rows import Severity

pytestmark = pytest.mark.one_colour


async def discovered(colour: Colour, servers: dict[str, str]) -> AsyncCluster:
    if colour.name == "async":
        return await AsyncCluster.discover(servers, timeout=TIMEOUT)
    return cast(AsyncCluster, Named(Cluster.discover(servers, timeout=TIMEOUT)))


class Named(Awaited):
    """A sync cluster behind the async interface."""

    def __getitem__(self, name: str) -> object:
        return cast(Cluster, self._target)[name]

    def __str__(self) -> str:
        return str(self._target)


def both(pair: Pair) -> dict[str, str]:
    return {"one": pair.primary.conninfo, "two": pair.standby.conninfo}


async def test_a_cascade_is_drawn_as_a_tree(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    leaf = clusters.lab.standby(cluster.standby, slot="leaf")
    other = clusters.lab.primary(version=cluster.major)
    try:
        cluster.catch_up()
        # As pg_rewind can leave it: a file of a timeline that was given up.
        current = str(one(cluster.primary, "SELECT pg_walfile_name(pg_current_wal_lsn())"))
        leaf.control.write_file(f"pg_wal/000000FF{current[8:]}", b"")
        servers = {"three": leaf.conninfo, **both(cluster), "other": other.conninfo}
        gone = clusters.lab.primary(version=cluster.major)
        gone.stop()
        servers |= {"gone": gone.conninfo}
        found = await discovered(colour, servers)
        assert found.primary is not None
        assert found.primary.name == "one"
        assert (found["two"].upstream, found["three"].upstream) == ("one", "two")
        assert (found["one"].upstream, found["other"].upstream) == (None, None)
        assert found["three"].timeline == found["one"].timeline
        assert [node.name for node in found.topology.foreign_nodes] == ["other"]
        assert [node.name for node in found.topology.down] == ["gone"]
        assert [node.name for node in found.topology.followers("two")] == ["three"]
        lines = str(found).splitlines()
        assert lines[0].startswith("one: primary, timeline ")
        assert lines[1].startswith("└── two: standby, ")
        assert lines[2].startswith("    └── three: standby, ")
        assert lines[3].startswith("gone: down (")
        assert lines[-1].startswith("other: other system identifier (")
        critical = [f.check for f in found.findings if f.severity is Severity.CRITICAL]
        assert critical == ["gone", "other"]
        told = json.loads(json.dumps(found.topology.to_dict()))
        assert {node["name"]: node["upstream"] for node in told["nodes"]} == {
            "one": None,
            "two": "one",
            "three": "two",
            "other": None,
            "gone": None,
        }

        async def best() -> str | None:
            await found.refresh()
            candidate = found.topology.best_candidate()
            return candidate.name if candidate else None

        # A server that is queried a moment later has also received newer WAL.
        assert await soon(best, lambda name: name == "two") == "two"
    finally:
        leaf.stop()
        other.stop()
        with cluster.standby.connect() as standby:
            standby.slot("leaf").drop(force=True)


async def test_two_primaries_are_reported_with_their_point_of_divergence(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    primary = clusters.lab.primary(version=cluster.major)
    astray = clusters.lab.standby(primary)
    try:
        found = await discovered(colour, {"a": primary.conninfo, "b": astray.conninfo})
        assert [*found.findings] == []
        astray.promote()
        with astray.connect() as promoted:
            history = promoted._history(2)
        assert history is not None
        run(primary, "SELECT pg_logical_emit_message(true, 'x', 'x')")
        await found.refresh()
        with pytest.raises(pgreplkit.errors.SplitBrain) as caught:
            _ = found.primary
        error = caught.value
        assert error.primaries == {"a": 1, "b": 2}
        assert (error.timeline, error.lsn) == (1, history.switchpoint(1))
        assert " ".join(str(found).split()).startswith(f"!! {error}")
        assert f"diverged on timeline 1 at {error.lsn}" in str(error)
        [finding] = found.findings
        assert finding.severity is Severity.CRITICAL
    finally:
        primary.stop()
        astray.stop()


async def test_two_names_for_one_server_are_refused(
    cluster: Pair, colour: Colour, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = cluster.primary, cluster.standby
    several = psycopg.conninfo.make_conninfo(
        first.conninfo, host="127.0.0.1,127.0.0.1", port=f"{second.port},{first.port}"
    )
    found = await discovered(colour, both(cluster))
    plans: list[Callable[[], Awaitable[object]]] = [
        lambda: found.plan_switchover("two"),
        lambda: found.plan_failover(),
        lambda: found.plan_follow("two", "one"),
        lambda: found.plan_rejoin("one"),
    ]
    # As a list of hosts, a virtual IP address or a proxy leads to a server that has its own name.
    with Relay(second.port) as relay:
        others = {
            "one": psycopg.conninfo.make_conninfo(several, target_session_attrs="read-write"),
            "two": relay.conninfo_of(second.conninfo),
        }
        for same, conninfo in others.items():
            servers = {"vip": conninfo, **both(cluster)}
            with pytest.raises(pgreplkit.errors.SameServer) as caught:
                await discovered(colour, servers)
            assert caught.value.servers == (("vip", same),)
            # As after the address has moved: at the discovery it led to no server of another name.
            cast(Any, getattr(found, "_target", found))._servers = servers
            for plan in plans:
                with pytest.raises(pgreplkit.errors.SameServer):
                    await plan()
            assert command.main(["tree", *servers.values(), "--check"]) == 3
            printed = capsys.readouterr().out
            assert printed.startswith("UNKNOWN - could not read the topology: "), printed
            assert "are one server; give each server once" in printed


async def test_a_standby_without_its_upstream_is_a_root_with_a_warning(
    cluster: Pair, colour: Colour
) -> None:
    found = await discovered(colour, {"two": cluster.standby.conninfo})
    assert found.primary is None
    checks = {finding.check: finding.severity for finding in found.findings}
    assert checks == {"primary": Severity.CRITICAL, "two": Severity.WARNING}
    assert str(found).startswith("two: standby")


@pytest.mark.matrix
async def test_a_refresh_shows_a_promotion(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    primary = clusters.lab.primary(version=cluster.major)
    standby = clusters.lab.standby(primary)
    try:
        found = await discovered(colour, {"a": primary.conninfo, "b": standby.conninfo})
        primary.stop()
        standby.promote()
        await found.refresh()
        assert found.primary is not None
        assert (found.primary.name, found.primary.timeline) == ("b", 2)
        assert not found["a"].is_reachable
    finally:
        standby.stop()


async def test_missing_privileges_are_the_nodes_error(cluster: Pair, colour: Colour) -> None:
    servers = {"one": conninfo_as(cluster.primary, "stranger")}
    found = await discovered(colour, servers)
    assert isinstance(found["one"].error, pgreplkit.errors.InsufficientPrivilege)
    observer = {"one": conninfo_as(cluster.primary, "observer")}
    found = await discovered(colour, observer)
    assert found["one"].is_primary


def test_servers_are_named_by_their_address(cluster: Pair) -> None:
    found = Cluster.discover([cluster.primary.conninfo])
    [node] = found.nodes
    assert node.name == f"127.0.0.1:{cluster.primary.port}"
    assert repr(found) == f"<Cluster of {node.name}>"
    assert f"{node.name} primary" in words_of(found._repr_html_())
    assert found.to_dict() == found.topology.to_dict()
    assert found.best_candidate() is None
    with pytest.raises(ValueError, match="same address"):
        Cluster.discover([cluster.primary.conninfo] * 2)
    with pytest.raises(ValueError, match="servers is empty"):
        Cluster.discover([])


# As repmgr 4.0 to 5.3 creates them.
REPMGR = """
    CREATE SCHEMA repmgr;
    CREATE TABLE repmgr.nodes (
        node_id int PRIMARY KEY, upstream_node_id int, active bool NOT NULL DEFAULT true,
        node_name text NOT NULL, type text NOT NULL, location text NOT NULL DEFAULT 'default',
        priority int NOT NULL DEFAULT 100, conninfo text NOT NULL, repluser varchar(63) NOT NULL,
        slot_name text, config_file text NOT NULL);
    CREATE TABLE repmgr.events (
        node_id int NOT NULL, event text NOT NULL, successful bool NOT NULL DEFAULT true,
        event_timestamp timestamptz NOT NULL DEFAULT current_timestamp, details text);
"""


@pytest.mark.matrix
async def test_repmgr_names_the_nodes_and_the_preferred_candidate(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    primary = clusters.lab.primary(version=cluster.major)
    standbys = [clusters.lab.standby(primary, name=f"repmgr{number}") for number in range(3)]
    run(primary, REPMGR)
    for number, (node, name, priority) in enumerate(
        zip([primary, *standbys], ["db1", "db2", "repmgr1", "db4"], [100, 0, 50, 70], strict=True)
    ):
        kind = "primary" if node is primary else "standby"
        # One node is found by its name only, because its conninfo is not a connection string.
        conninfo = "elsewhere" if number == 2 else f"host=127.0.0.1 port={node.port}"
        run(
            primary,
            "INSERT INTO repmgr.nodes (node_id, node_name, type, priority, conninfo, repluser,"
            " config_file) VALUES"
            f" ({number}, '{name}', '{kind}', {priority}, '{conninfo}', '', '')",
        )
    for event in ("primary_register", "standby_register"):
        run(primary, f"INSERT INTO repmgr.events VALUES (1, '{event}', true, clock_timestamp())")
    for standby in standbys:
        Pair(primary, standby).catch_up()
    servers = [node.conninfo for node in (primary, *standbys)]
    found = Cluster.discover(servers)
    assert [node.name for node in found.nodes] == ["db1", "db2", "repmgr1", "db4"]
    assert found["db4"].upstream == "db1"
    assert found["db2"].repmgr is not None
    assert found["db2"].repmgr.priority == 0
    assert "elsewhere" not in repr(found["repmgr1"])

    def best() -> str | None:
        found.refresh()
        candidate = found.best_candidate()
        return candidate.name if candidate else None

    # A server that is queried a moment later may have received more.
    wait_until(lambda: best() == "db4")
    assert found.primary is not None
    assert found.primary.name == "db1"
    events = found.repmgr_events(limit=1)
    assert [event.event for event in events] == ["standby_register"]
    hidden = Cluster.discover([conninfo_as(cluster.primary, "observer")])
    assert hidden.nodes[0].repmgr is None
    assert hidden.repmgr_events() == []
    as_observer = Cluster.discover({"x": primary.conninfo})
    assert [node.name for node in as_observer.nodes] == ["x"]
    with psycopg.connect(primary.conninfo) as holder:
        holder.execute("LOCK TABLE repmgr.nodes")
        silent = Cluster.discover({"x": primary.conninfo}, timeout=1)
        assert "timed out after 1 s" in str(silent)
        # No thread remains that would keep the interpreter from exiting.
        wait_until(lambda: not [t for t in threading.enumerate() if "pgreplkit" in t.name])
    primary.stop()
    # A standby answers in its place.
    assert found.repmgr_events(limit=1) == events


@pytest.mark.matrix
def test_a_repmgr_witness_is_no_member_of_the_cluster(clusters: Clusters, cluster: Pair) -> None:
    primary = clusters.lab.primary(version=cluster.major)
    witness = clusters.lab.primary(version=cluster.major)
    run(primary, REPMGR)
    run(witness, REPMGR)
    standby = clusters.lab.standby(primary, name="beside-a-witness")
    nodes = [("db1", "primary", primary), ("db2", "standby", standby), ("w", "witness", witness)]
    for server in (primary, witness):
        for number, (name, kind, node) in enumerate(nodes):
            run(
                server,
                "INSERT INTO repmgr.nodes (node_id, node_name, type, conninfo, repluser,"
                f" config_file) VALUES ({number}, '{name}', '{kind}',"
                f" 'host=127.0.0.1 port={node.port}', '', '')",
            )
    Pair(primary, standby).catch_up()
    found = Cluster.discover([witness.conninfo, primary.conninfo, standby.conninfo])
    assert not found.findings
    standby.stop()
    found.refresh()
    assert found.primary is not None
    assert found.primary.name == "db1"
    assert [finding.check for finding in found.findings] == ["db2"]
    witness.stop()
    found.refresh()
    assert [node.name for node in found.topology.down] == ["db2"]
    assert [node.name for node in found.topology.witnesses] == ["w"]
