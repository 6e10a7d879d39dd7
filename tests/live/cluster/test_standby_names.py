"""Switchover of standbys listed in synchronous_standby_names by their effective names."""

from __future__ import annotations

import psycopg
import pytest
from clusters import Cluster as Pair, Clusters, one, run, wait_until
from colours import Colour
from psycopg.conninfo import make_conninfo

import pgreplkit
from pgreplkit import Primary, SyncStandbyNames
from pgreplkit.errors import PlanRefused
from pgreplkit.lab import Lab, Node
from pgreplkit.rows import Upstream

pytestmark = [pytest.mark.matrix, pytest.mark.one_colour, pytest.mark.pg(">=12")]


RECEIVER = "SELECT pid FROM pg_stat_wal_receiver"
TIMELINE = "SELECT received_tli FROM pg_stat_wal_receiver"


def follow(standby: Node, primary: Node, application_name: str | None = None) -> None:
    """Let a standby connect with this application_name, or without one."""
    conninfo = make_conninfo(
        primary.conninfo, dbname=None, application_name=application_name
    ).replace("'", "''")
    run(standby, f"ALTER SYSTEM SET primary_conninfo = '{conninfo}'")
    standby.restart()
    standby.wait_for_streaming()


def named(lab: Lab, major: int, *cluster_names: str) -> dict[str, Node]:
    """Create a primary and standbys with these cluster names, and no application_name."""
    first, *others = cluster_names
    nodes = {"a": lab.primary(version=major, name="a", settings={"cluster_name": first})}
    for name, cluster_name in zip("bc", others, strict=False):
        nodes[name] = lab.standby(nodes["a"], name=name, settings={"cluster_name": cluster_name})
        follow(nodes[name], nodes["a"])
    return nodes


def commits(node: Node) -> bool:
    """Return whether a commit returns, instead of waiting for a standby."""
    conninfo = make_conninfo(node.conninfo, options="-c statement_timeout=15000")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        warnings: list[str] = []
        connection.add_notice_handler(lambda said: warnings.append(str(said.message_primary)))
        connection.execute("SELECT pg_logical_emit_message(true, 'x', 'x')")
        return not warnings  # a cancelled wait is only a warning; the commit remains


@pytest.mark.parametrize("names", [("Paris 1", "It's Lyon"), ("15/main", "15/main", "15/main")])
async def test_commits_end_after_a_switchover_and_back(
    clusters: Clusters, cluster: Pair, names: tuple[str, ...]
) -> None:
    nodes = named(clusters.lab, cluster.major, *names)
    with nodes["a"].connect() as primary:
        # The walsenders of the connections before may just be ending.
        wait_until(lambda: {r.application_name for r in primary.replicas()} == {*names[1:]})
        assert isinstance(primary, Primary)
        count = len(names) - 1
        primary.set_sync_standby_names(SyncStandbyNames((names[1].lower(),), count))
    found = pgreplkit.Cluster.discover(
        {name: node.conninfo for name, node in nodes.items()},
        controls={name: node.control for name, node in nodes.items()},
    )
    assert found["b"].receives_from is not None
    assert found["b"].receives_from.known_as == names[1]
    for new, old in (("b", "a"), ("a", "b")):
        plan = found.plan_switchover(new, timeout=30)
        plan.run()
        assert commits(nodes[new])
        with nodes[new].connect() as primary:
            assert isinstance(primary, Primary)
            there = {replica.application_name for replica in primary.replicas()}
            assert primary.sync_standby_names().names == ((names["ab".index(old)]),)
        assert names["ab".index(old)] in there


async def test_a_switchover_after_which_commits_would_wait_is_refused(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    nodes = named(clusters.lab, cluster.major, "paris", "lyon", "nice")
    run(nodes["a"], "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 2 (lyon, archiver)'")
    run(nodes["a"], "SELECT pg_reload_conf()")
    shown = "FIRST 2 (lyon, archiver)"
    wait_until(lambda: one(nodes["a"], "SHOW synchronous_standby_names") == shown)
    found = pgreplkit.Cluster.discover(
        {name: node.conninfo for name, node in nodes.items()},
        controls={name: node.control for name, node in nodes.items()},
    )
    with pytest.raises(PlanRefused, match=r"FIRST 2 \(paris, archiver\).*paris, nice"):
        found.plan_switchover("b").run()


@pytest.mark.parametrize("own", [None, "It's C"])
async def test_a_standby_has_the_same_name_after_its_upstream_was_promoted(
    clusters: Clusters, cluster: Pair, colour: Colour, own: str | None
) -> None:
    nodes = named(clusters.lab, cluster.major, "a", "b")
    settings = {"cluster_name": "The C"}
    cascaded = clusters.lab.standby(nodes["b"], name="c", settings=settings)
    follow(cascaded, nodes["b"], application_name=own)
    nodes["b"].promote()

    async def upstream() -> Upstream:
        async with await colour.standby(cascaded.conninfo) as standby:
            found = await standby.upstream()
        assert found is not None
        return found

    # The walreceiver does not connect again: it continues on the new timeline.
    before = one(cascaded, RECEIVER)
    wait_until(lambda: one(cascaded, TIMELINE) == 2)
    assert one(cascaded, RECEIVER) == before
    assert (await upstream()).known_as == (own or "The C")
    assert one(nodes["b"], "SELECT application_name FROM pg_stat_replication") == (own or "The C")
