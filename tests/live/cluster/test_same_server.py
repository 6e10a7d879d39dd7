"""Plans with a second name for a server, or with the control of another one."""

from __future__ import annotations

import pytest
from clusters import Cluster as Pair, Clusters
from colours import Colour
from trees import discover, grow

from pgreplkit import NodeControl
from pgreplkit.errors import ControlFailed, PlanRefused
from pgreplkit.rows import Evidence, Severity

pytestmark = [pytest.mark.matrix, pytest.mark.one_colour]
NOWHERE = "host=127.0.0.1 port=1 user=postgres dbname=postgres connect_timeout=3"


async def test_a_name_that_leads_nowhere_is_no_lost_primary_while_another_one_answers(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    # The server's own address is out of reach, and its virtual address is not.
    servers = {"own": NOWHERE, "vip": tree["a"].conninfo, "b": tree["b"].conninfo}
    found = await discover(servers, colour, controls={"own": tree["a"].control})
    evidence: tuple[Evidence, ...] = ("connection",)
    plan = await found.plan_failover("b", primary="own", evidence=evidence, timeout=10)
    finding = (await plan.check())["primaries"]
    assert (finding.severity, finding.found) == (Severity.CRITICAL, "vip accepts writes")
    with pytest.raises(PlanRefused, match="it is own by another name, or has replaced own"):
        await plan.run()
    with pytest.raises(ControlFailed, match="could not rejoin own: its control acts on the prim"):
        await found.plan_rejoin("own")
    assert tree["a"].is_running
    assert (await found.plan_switchover("b")).steps


async def test_a_control_of_another_server_stops_a_switchover(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    servers = {name: tree[name].conninfo for name in ("a", "b")}
    swapped: dict[str, NodeControl] = {"a": tree["b"].control, "b": tree["a"].control}
    found = await discover(servers, colour, controls=swapped)
    check = await (await found.plan_switchover("b")).check()
    assert check["control of a"].severity is Severity.CRITICAL
    assert check["control of a"].found.startswith("it acts on another server than a, in /")
    found = await discover(servers, colour, controls={"a": tree["a"].control})
    check = await (await found.plan_switchover("b")).check()
    assert check["control of a"].severity is Severity.OK
