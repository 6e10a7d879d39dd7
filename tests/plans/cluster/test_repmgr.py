"""The registration of a server by repmgr."""

from __future__ import annotations

from pgreplkit.plans.cluster.repmgr import registration_of
from pgreplkit.rows import RepmgrNode, RepmgrType


def registered(name: str, conninfo: str) -> RepmgrNode:
    return RepmgrNode(
        node_id=1,
        upstream_node_id=None,
        active=True,
        node_name=name,
        type=RepmgrType.WITNESS,
        location="default",
        priority=0,
        conninfo=conninfo,
        slot_name=None,
    )


def test_a_server_that_is_down_is_found_in_repmgr_by_its_address_or_name() -> None:
    rows = [registered("w", "host=10.0.0.1 port=5433"), registered("db2", "host=10.0.0.1")]
    assert registration_of(rows, "x", "host=10.0.0.1 port=5433") is rows[0]
    assert registration_of(rows, "x", "hostaddr=10.0.0.1") is rows[1]
    assert registration_of(rows, "w", "host=elsewhere") is rows[0]
    assert registration_of(rows, "x", "host=a,b port=1,2") is None
    assert registration_of(rows, "x", "not a string") is None
