"""The replication topology as a tree."""

from __future__ import annotations

from collections.abc import Iterator

from pgreplkit._text import counted
from pgreplkit.catalog.server.lag import LagReason, ReplayLag
from pgreplkit.display.findings import findings_table
from pgreplkit.display.markup import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    LINE,
    RED,
    Markup,
    badge,
    block,
    code,
    join,
    muted,
    panel,
    spaced,
    tag,
    text,
)
from pgreplkit.plans.cluster.topology import ClusterNode, Topology
from pgreplkit.values.text import clean

LAG_COLOURS = {
    LagReason.CAUGHT_UP: GREEN,
    LagReason.REPLAYING: BLUE,
    LagReason.PAUSED: AMBER,
    LagReason.DELAYED: AMBER,
    LagReason.UPSTREAM_BEHIND: AMBER,
    LagReason.NOT_STREAMING: RED,
}
_LIST = f"list-style:none;margin:0 0 0 .8em;padding:0 0 0 1em;border-left:{LINE}"


def topology_panel(topology: Topology) -> Markup:
    """Return the tree of the nodes, the nodes outside of it, and the findings."""
    roots = [node for node in topology.members if node.upstream is None]
    roots.sort(key=lambda node: (not node.is_primary, node.name))
    drawn: set[str] = set()
    # After the trees: circles of standbys without a primary, and nodes that do not replicate.
    trees = [
        _branch(topology, node, drawn)
        for node in (*roots, *topology.nodes)
        if node.name not in drawn
    ]
    count = len(topology.nodes)
    title = counted(count, "server")
    system = "" if topology.system_id is None else f" of system {topology.system_id}"
    findings = findings_table(topology.findings) if topology.findings else Markup("")
    listed = tag("ul", *trees, style=f"{_LIST};margin:0;padding:0;border:none")
    return panel(join([text(title), muted(system)]), listed, findings)


def _branch(topology: Topology, node: ClusterNode, drawn: set[str]) -> Markup:
    # Before its followers: in a circle of standbys one of them is this node.
    drawn.add(node.name)
    followers = sorted(topology.followers(node.name), key=lambda node: node.name)
    branches = [_branch(topology, n, drawn) for n in followers if n.name not in drawn]
    inner = tag("ul", *branches, style=_LIST) if branches else Markup("")
    is_foreign = node in topology.foreign_nodes
    return tag("li", node_box(node, is_foreign=is_foreign), inner, style="margin:.25em 0")


def node_box(node: ClusterNode, *, is_foreign: bool = False) -> Markup:
    """Return one server: its name, its role, its position and its lag."""
    # An unreachable server has a dashed frame.
    frame = LINE if node.is_reachable else LINE.replace("solid", "dashed")
    style = f"display:inline-block;padding:.15em .6em;border:{frame};border-radius:.4em"
    parts = [tag("b", node.name), *_state(node)]
    if is_foreign:
        parts.append(badge("other system identifier", RED))
    return block(spaced(parts), style=style)


def lag_badge(lag: ReplayLag) -> Markup:
    """Return the reason of a lag in its colour, and its size."""
    # The first part is the reason, which the badge has.
    figures = ", ".join(str(lag).split(", ")[1:])
    colour = LAG_COLOURS.get(lag.reason, GREY)
    return join([badge(lag.reason.value, colour), muted(f" {figures}" if figures else "")])


def _state(node: ClusterNode) -> Iterator[Markup]:
    if node.error is not None:
        yield badge("refuses connections" if node.refuses else "down", RED)
        yield muted(clean(str(node.error)))
        return
    if node.is_witness:
        yield badge("witness", GREY)
        return
    yield badge("primary", BLUE) if node.is_primary else badge("standby", GREY)
    if node.version is not None:
        yield muted(node.version)
    yield muted(f"timeline {node.timeline}")
    yield code(node.lsn)
    if node.lag is not None:
        yield lag_badge(node.lag)
