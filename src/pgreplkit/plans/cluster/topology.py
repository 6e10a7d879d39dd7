"""Topology: the upstream of each server of a cluster, from the reports of all."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

import attrs

from pgreplkit.catalog.cluster.repmgr import RepmgrNode, RepmgrType
from pgreplkit.catalog.server.lag import ReplayLag
from pgreplkit.catalog.server.receivers import Upstream
from pgreplkit.catalog.server.senders import SenderState, SyncState, WalSender
from pgreplkit.catalog.server.slot import SlotState
from pgreplkit.errors import Error, NodeNotFound
from pgreplkit.plans.server.identity import insist_on_distinct
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record
from pgreplkit.values.rows import Rows
from pgreplkit.values.text import wrapped
from pgreplkit.values.timeline import TimelineHistory
from pgreplkit.values.version import ServerVersion

_CONFIRMING = {SyncState.SYNC, SyncState.QUORUM}


@attrs.frozen(kw_only=True)
class ClusterNode(Record):
    """One server of a cluster; if it did not answer, only ``error`` is set, and ``repmgr`` if
    another server knows it."""

    _left_out = ("major",)

    name: str
    host: str | None = None
    port: int | None = None
    error: Error | None = None
    refuses: bool = False
    """Whether a server answered there that accepted no connection: it may start up, recover after
    a crash, shut down, or refuse this role."""
    version: ServerVersion | None = None
    system_id: int | None = None
    started_at: datetime | None = None
    """Start of the server, by its own clock."""
    timeline: int | None = None
    is_primary: bool | None = None
    lsn: LSN | None = None
    """Position written by a primary; the higher of received and replayed on a standby."""
    lag: ReplayLag | None = None
    """Lag of a standby behind its upstream."""
    receives_from: Upstream | None = None
    """The server that a standby's walreceiver is connected to; None if none is running."""
    senders: tuple[WalSender, ...] = ()
    slots: tuple[SlotState, ...] = ()
    history: TimelineHistory | None = None
    """History of its timeline; None if the role may not read it."""
    repmgr: RepmgrNode | None = None
    """Its row in repmgr.nodes, if the connection's database is the one that repmgr uses; of a
    server that did not answer, as another server has it."""
    upstream: str | None = None
    """Name of the node that it receives from; None if that is not a node of this cluster."""

    @property
    def is_reachable(self) -> bool:
        """Whether the server answered."""
        return self.error is None

    @property
    def is_witness(self) -> bool:
        """Whether repmgr registered the server as a witness, which is not replicated."""
        return self.repmgr is not None and self.repmgr.type is RepmgrType.WITNESS

    @property
    def major(self) -> int:
        """The major version.

        Raises:
            ValueError: If the server did not answer.
        """
        if self.version is None:
            raise ValueError(f"the version of {self.name} is unknown: the server did not answer")
        return self.version.major

    def __str__(self) -> str:
        return "\n".join(wrapped(self._line, then="    "))

    @property
    def _line(self) -> str:
        if self.error is not None:
            state = "refuses connections" if self.refuses else "down"
            what = "witness of repmgr, " if self.is_witness else ""
            return f"{self.name}: {what}{state} ({self.error})"
        if self.is_witness:
            return f"{self.name}: witness of repmgr"
        where = f"timeline {self.timeline}, {self.lsn}"
        if self.is_primary:
            return f"{self.name}: primary, {where}"
        behind = "" if self.lag is None else f", {self.lag}"
        return f"{self.name}: standby, {where}{behind}"


@attrs.frozen
class Topology(Record):
    """The replication topology of several servers; ``str()`` draws the tree."""

    _left_out = (
        "members",
        "down",
        "foreign_nodes",
        "witnesses",
        "primaries",
        "standbys",
        "primary",
    )

    nodes: tuple[ClusterNode, ...]
    known_system_id: int | None = attrs.field(default=None, kw_only=True)
    """System identifier of the cluster from an earlier discovery, which decides a tie."""

    @classmethod
    def of(cls, nodes: Sequence[ClusterNode], *, known_system_id: int | None = None) -> "Topology":
        """Return the topology of nodes, and find the upstream of each.

        Raises:
            SameServer: If several nodes are one server.
        """
        insist_on_distinct(
            "read the topology",
            {node.name: (node.system_id, node.started_at) for node in nodes if node.started_at},
        )
        resolved = tuple(attrs.evolve(node, upstream=_upstream(node, nodes)) for node in nodes)
        return cls(resolved, known_system_id=known_system_id)

    def __getitem__(self, name: str) -> ClusterNode:
        """Return the node of that name.

        Raises:
            NodeNotFound: If there is no such node.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise NodeNotFound(name, tuple(node.name for node in self.nodes))

    def __iter__(self) -> Iterator[ClusterNode]:
        return iter(self.nodes)

    def __contains__(self, node: object) -> bool:
        """Return whether a node, or a node of that name, belongs to the topology."""
        return any(node in (each, each.name) for each in self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def system_id(self) -> int | None:
        """The system identifier of most nodes; None if no node answered.

        In a tie, the one that the cluster had before counts, then that of the nodes that take part
        in replication, then that of the first node. Witnesses of repmgr do not count.
        """
        nodes = [node for node in self.nodes if node.system_id is not None and not node.is_witness]
        # A node that was given by mistake must not make foreign_nodes of the others.
        count = Counter(node.system_id for node in nodes)
        linked = Counter(node.system_id for node in nodes for _ in _links(node))
        # A standby whose primary is lost still belongs to a cluster; a lone primary may not.
        linked.update(node.system_id for node in nodes if not node.is_primary)

        def rank(system_id: int | None) -> tuple[int, bool, int]:
            return count[system_id], system_id == self.known_system_id, linked[system_id]

        return max(count, key=rank, default=None)

    @property
    def members(self) -> tuple[ClusterNode, ...]:
        """Nodes that answered and have the cluster's system identifier."""
        own = self.system_id
        return tuple(n for n in self._replicating if n.system_id == own)

    @property
    def down(self) -> tuple[ClusterNode, ...]:
        """Nodes that did not answer; no witnesses."""
        return tuple(n for n in self.nodes if not n.is_reachable and not n.is_witness)

    @property
    def foreign_nodes(self) -> tuple[ClusterNode, ...]:
        """Nodes with another system identifier."""
        own = self.system_id
        return tuple(n for n in self._replicating if n.system_id != own)

    @property
    def witnesses(self) -> tuple[ClusterNode, ...]:
        """Witnesses of repmgr, down or not: servers of their own, which are not replicated."""
        return tuple(node for node in self.nodes if node.is_witness)

    @property
    def _replicating(self) -> tuple[ClusterNode, ...]:
        return tuple(n for n in self.nodes if n.is_reachable and not n.is_witness)

    @property
    def primaries(self) -> tuple[ClusterNode, ...]:
        """Members that accept writes: none, one, or in a split brain several."""
        return tuple(node for node in self.members if node.is_primary)

    @property
    def standbys(self) -> tuple[ClusterNode, ...]:
        """Members that are standbys."""
        return tuple(node for node in self.members if not node.is_primary)

    @property
    def primary(self) -> ClusterNode | None:
        """The primary; None if there is none.

        Raises:
            SplitBrain: If several members are primaries.
        """
        if len(self.primaries) > 1:
            raise self.split_brain()
        return self.primaries[0] if self.primaries else None

    def followers(self, name: str) -> Rows[ClusterNode]:
        """Return the standbys that receive directly from a node."""
        return Rows(node for node in self.members if node.upstream == name)

    def upstreams(self, name: str) -> Rows[ClusterNode]:
        """Return the upstreams of a node, direct and indirect, the nearest first."""
        found = Rows[ClusterNode]()
        node = self[name]
        # Standbys may form a circle.
        while node.upstream is not None and self[node.upstream] not in found:
            node = self[node.upstream]
            found.append(node)
        return found

    def best_candidate(self) -> ClusterNode | None:
        """Return the standby with the most WAL on the newest timeline; None without a standby.

        Of several such standbys, a synchronous one comes first, then one with a higher priority in
        repmgr, then one that receives directly from the primary, then the first by name. A standby
        with priority 0 in repmgr is never a candidate.
        """
        writers = {node.name for node in self.primaries}
        confirming = {
            sender.application_name
            for node in self.members
            for sender in node.senders
            if sender.sync_state in _CONFIRMING
        }

        def rank(node: ClusterNode) -> tuple[int, int, bool, int, bool, str]:
            # A synchronous standby has every commit that a client knows of.
            confirms = node.name in confirming or _application_name(node) in confirming
            lsn = 0 if node.lsn is None else int(node.lsn)
            direct = node.upstream in writers
            priority = -_priority(node)
            # The timeline comes before the position: more WAL of an older timeline is WAL that was
            # left.
            return (-(node.timeline or 0), -lsn, not confirms, priority, not direct, node.name)

        return min((node for node in self.standbys if _priority(node)), key=rank, default=None)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Problems of the topology; empty if all nodes form one tree under one primary."""
        return tuple(self._findings())

    def __str__(self) -> str:
        lines = []
        if len(self.primaries) > 1:
            lines += wrapped(f"!! {self.split_brain()}", then="   ")
        drawn: set[str] = set()
        roots = [node for node in self.members if node.upstream is None]
        # The primary is drawn first, then standbys whose upstream is not in this cluster.
        for root in sorted(roots, key=lambda node: (not node.is_primary, node.name)):
            lines += self._tree(root, drawn)
        for node in self.members:
            if node.name not in drawn:
                lines += wrapped(f"!! a circle of standbys without a primary, from {node.name}")
                lines += self._tree(node, drawn)
        lines += [str(node) for node in (*self.witnesses, *self.down)]
        for node in self.foreign_nodes:
            lines += wrapped(f"{node.name}: other system identifier ({node.system_id})")
        return "\n".join(lines)

    def _tree(self, root: ClusterNode, drawn: set[str]) -> list[str]:
        drawn.add(root.name)
        return [str(root), *self._branches(root.name, "", drawn)]

    def _branches(self, name: str, indent: str, drawn: set[str]) -> Iterator[str]:
        followers = [node for node in self.followers(name) if node.name not in drawn]
        for number, node in enumerate(sorted(followers, key=lambda node: node.name), 1):
            drawn.add(node.name)
            last = number == len(followers)
            below = indent + ("    " if last else "│   ")
            yield from wrapped(
                node._line, first=f"{indent}{'└── ' if last else '├── '}", then=below
            )
            yield from self._branches(node.name, below, drawn)

    def split_brain(self) -> "SplitBrain":
        """Return the error that names the primaries, and where their histories diverged."""
        # The lowest timeline first: the others were promoted later.
        first, *others = sorted(self.primaries, key=lambda node: (node.timeline or 0, node.name))
        fork = None
        for other in others:
            if first.history is not None and other.history is not None:
                fork = first.history.fork_from(other.history)
        names = {node.name: node.timeline or 0 for node in (first, *others)}
        return SplitBrain(names, *(fork or (None, None)))

    def _findings(self) -> Iterator[Finding]:
        if len(self.primaries) > 1:
            yield _finding("primary", Severity.CRITICAL, str(self.split_brain()), "one primary")
        elif not self.primaries:
            yield _finding("primary", Severity.CRITICAL, "no primary answered", "one primary")
        for node in self.down:
            yield _finding(node.name, Severity.CRITICAL, str(node.error), "a server that answers")
        for node in self.witnesses:
            if not node.is_reachable:
                needed = "a witness that answers: without it repmgr may fail over too early"
                yield _finding(node.name, Severity.WARNING, str(node.error), needed)
        for node in self.foreign_nodes:
            found = f"system identifier {node.system_id}"
            needed = f"{self.system_id}, as the other nodes"
            yield _finding(node.name, Severity.CRITICAL, found, needed)
        for node in self.standbys:
            if node.upstream is None:
                source = node.receives_from
                found = f"it receives from {source.address if source else 'no server'}"
                yield _finding(node.name, Severity.WARNING, found, "an upstream in this cluster")


def _finding(check: str, severity: Severity, found: str, needed: str) -> Finding:
    return Finding(check=check, severity=severity, found=found, needed=needed)


def _links(node: ClusterNode) -> list[object]:
    """Return the connections of a node to other servers, as evidence that it replicates."""
    source = () if node.receives_from is None else (node.receives_from,)
    return [*node.senders, *source]


def _priority(node: ClusterNode) -> int:
    # repmgr's own default.
    return 100 if node.repmgr is None else node.repmgr.priority


def _application_name(node: ClusterNode) -> str | None:
    return node.receives_from.known_as if node.receives_from else None


def _upstream(node: ClusterNode, nodes: Sequence[ClusterNode]) -> str | None:
    """Return the node that a standby receives from.

    The address decides. It may differ from the one that is known here (a proxy, another network):
    then the slot decides, then the application_name, if exactly one node fits.
    """
    source = node.receives_from
    if source is None:
        return None
    others = [n for n in nodes if n is not node and n.is_reachable]
    # The same private address may exist in two networks.
    others = [other for other in others if other.system_id == node.system_id]
    for found in (
        [other for other in others if (other.host, other.port) == (source.host, source.port)],
        [other for other in others if source.slot_name in _slots_in_use(other)],
        [other for other in others if source.application_name in _receivers_of(other)],
    ):
        # Two candidates do not answer it: a wrong upstream is worse than none.
        if len(found) == 1:
            return found[0].name
    return None


def _slots_in_use(node: ClusterNode) -> set[str | None]:
    streaming = {sender.pid for sender in node.senders}
    # A slot can be in use without a walsender: by an SQL function.
    return {slot.slot_name for slot in node.slots if slot.active_pid in streaming}


def _receivers_of(node: ClusterNode) -> set[str | None]:
    backup = SenderState.BACKUP
    # A base backup may carry the name of the standby that it will become.
    return {sender.application_name for sender in node.senders if sender.state is not backup}


class SplitBrain(Error):
    """Several servers of one cluster accept writes.

    Attributes:
        primaries: the timeline of each primary, by name.
        timeline: the last timeline that they share; None if unknown.
        lsn: the position on it at which they diverged; None if unknown.
    """

    primaries: dict[str, int]
    timeline: int | None
    lsn: LSN | None

    def __init__(
        self, primaries: dict[str, int], timeline: int | None = None, lsn: LSN | None = None
    ) -> None:
        super().__init__(primaries, timeline, lsn)
        self.primaries, self.timeline, self.lsn = primaries, timeline, lsn

    def __str__(self) -> str:
        who = " and ".join(f"{name} (timeline {n})" for name, n in self.primaries.items())
        where = ""
        if self.lsn is not None:
            where = f", which diverged on timeline {self.timeline} at {self.lsn}"
        return (
            f"split brain: {who} all accept writes{where}; stop all but one of them now, before"
            " clients write more data that exists on one server only"
        )
