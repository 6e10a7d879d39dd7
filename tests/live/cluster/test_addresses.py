"""Operations write the resolved address of a server, not the caller's connection string."""

from __future__ import annotations

from pathlib import Path

import pytest
from clusters import Cluster as Pair, Clusters, one
from trees import Tree, grow

import pgreplkit
from pgreplkit.lab import Lab

pytestmark = [pytest.mark.matrix, pytest.mark.one_colour]


def services(tree: Tree, folder: Path) -> dict[str, str]:
    file = folder / "services.conf"
    lines = []
    for name, node in tree.nodes.items():
        parts = node.conninfo.replace(" ", "\n")
        lines.append(f"[{name}]\n{parts}\n")
    file.write_text("".join(lines))
    return {name: f"service={name} servicefile={file}" for name in tree.nodes}


def several_hosts(tree: Tree, lab: Lab) -> dict[str, str]:
    """Return connection strings with all hosts, which choose a server by its present role."""
    common = f"user=postgres dbname=postgres passfile={lab._place.passfile}"
    found = {}
    for name, node in tree.nodes.items():
        ports = ",".join(["1", str(node.port)])
        attrs = "read-write" if name == "a" else "any"
        found[name] = f"host=127.0.0.1,127.0.0.1 port={ports} {common} target_session_attrs={attrs}"
    return found


@pytest.mark.parametrize("way", ["services", "hosts"])
def test_a_switchover_and_a_follow_lead_standbys_to_the_resolved_address(
    clusters: Clusters,
    cluster: Pair,
    way: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False)
    if way == "services":
        servers = services(tree, tmp_path)
        monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services.conf"))
        servers = {name: f"service={name}" for name in servers}
    else:
        servers = several_hosts(tree, clusters.lab)
    found = pgreplkit.Cluster.discover(servers, controls=tree.controls)
    assert {node.name: node.upstream for node in found.nodes} == {"a": None, "b": "a", "c": "a"}
    found.plan_follow("c", "b", timeout=30).run()
    found.refresh()
    assert found["c"].upstream == "b"
    found.plan_follow("c", "a", timeout=30).run()
    found.refresh()
    if way == "hosts":
        # From here on "a" no longer accepts writes.
        servers["a"] = servers["a"].replace("read-write", "any")
        found = pgreplkit.Cluster.discover(servers, controls=tree.controls)
    found.plan_switchover("b", timeout=30).run()
    found.refresh()
    assert {node.name: node.upstream for node in found.nodes} == {"a": "b", "b": None, "c": "b"}
    if cluster.major >= 12:
        written = str(one(tree["c"], "SHOW primary_conninfo"))
        assert f"host=127.0.0.1 port={tree['b'].port}" in written
        assert "target_session_attrs" not in written
