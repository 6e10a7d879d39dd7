"""Failover: a primary that answers in any way is alive, and is not replaced."""

from __future__ import annotations

import os
import signal

import psycopg
import pytest
from clusters import Cluster as Pair, Clusters, one, wait_until
from colours import Colour
from trees import discover, grow

import pgreplkit
from pgreplkit.driver.probe import probe
from pgreplkit.errors import PlanRefused
from pgreplkit.plans.cluster.failover import Reply
from pgreplkit.rows import Evidence

pytestmark = [pytest.mark.matrix, pytest.mark.one_colour]


async def test_a_primary_that_waits_for_its_last_clients_is_not_replaced(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    found = await tree.discover(colour)
    primary = tree["a"]
    with psycopg.connect(primary.conninfo, autocommit=True) as client:
        # A smart shutdown: new connections get SQLSTATE 57P03, and this client still writes.
        ctl = str(primary.installation.bindir / "pg_ctl")
        command = [ctl, "stop", "-D", str(primary.data_directory), "-m", "smart", "--no-wait"]
        primary._command(command, check=True)
        wait_until(lambda: probe(primary.conninfo) is Reply.REFUSED)
        await found.refresh()
        assert found["a"].refuses
        assert str(found["a"]).startswith("a: refuses connections (")
        ways: tuple[tuple[Evidence], ...] = (("connection",), ("process",))
        for evidence in ways:
            plan = await found.plan_failover("b", evidence=evidence, timeout=10)
            with pytest.raises(PlanRefused, match=f"{evidence[0]}: it (answers|is running)"):
                await plan.run()
        with pytest.raises(pgreplkit.errors.ServerError, match=r"at present \(a: refuses"):
            await found.plan_switchover("b")
        client.execute("INSERT INTO written VALUES (1)")
    wait_until(lambda: not primary.is_running)
    assert probe(primary.conninfo) is Reply.SILENT


def test_a_primary_that_is_reached_on_another_host_or_without_encryption_is_alive(
    cluster: Pair,
) -> None:
    name = "host=127.0.0.1,127.0.0.1 user=postgres dbname=postgres connect_timeout=3"
    where = f"port=1,{cluster.primary.port} target_session_attrs=standby sslmode=require"
    servers = {"a": f"{name} {where}", "b": cluster.standby.conninfo}
    found = pgreplkit.Cluster.discover(servers, timeout=20)
    assert found["a"].refuses
    evidence: tuple[Evidence, ...] = ("connection",)
    plan = found.plan_failover("b", primary="a", evidence=evidence, timeout=10)
    with pytest.raises(PlanRefused, match="connection: it answers"):
        plan.run()


async def test_a_primary_that_is_stopped_for_a_while_is_not_replaced(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    primary = tree["a"]
    postmaster = int((primary.data_directory / "postmaster.pid").read_text().split()[0])
    silent = f"{primary.conninfo} connect_timeout=2"
    os.kill(postmaster, signal.SIGSTOP)
    try:
        # Its kernel still takes connections, and it writes again when it continues.
        assert probe(silent) is Reply.OPEN
        found = await discover({"a": silent, "b": tree["b"].conninfo}, colour)
        evidence: tuple[Evidence, ...] = ("connection",)
        plan = await found.plan_failover("b", primary="a", evidence=evidence, timeout=10)
        with pytest.raises(PlanRefused, match=r"connection: .*is open, and what listens there"):
            await plan.run()
    finally:
        os.kill(postmaster, signal.SIGCONT)


async def test_a_standby_that_was_promoted_by_someone_else_stops_a_failover(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    found = await tree.discover(colour)
    tree["a"].kill()
    plan = await found.plan_failover("b", evidence=("connection", "standbys"), timeout=10)
    tree["c"].promote()
    with pytest.raises(PlanRefused, match=r"standbys: .*c does not say"):
        await plan.run()
    assert one(tree["b"], "SELECT pg_is_in_recovery()") is True
