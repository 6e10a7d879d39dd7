"""Topology: who follows whom among several servers, by what they say of themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import attrs
from packaging.version import Version

from pgreplkit.catalog.cluster.repmgr import RepmgrNode
from pgreplkit.catalog.server.lag import ReplayLag
from pgreplkit.catalog.server.receivers import Upstream
from pgreplkit.catalog.server.senders import SenderState, SyncState, WalSender
from pgreplkit.catalog.server.slot import SlotState
from pgreplkit.errors import Error
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.lsn import LSN
from pgreplkit.values.plain import Plain, plain
from pgreplkit.values.timeline import TimelineHistory

_CONFIRMING = {SyncState.SYNC, SyncState.QUORUM}


@attrs.frozen(kw_only=True)
class ClusterNode:
    """One server of a cluster, or why it did not answer: then ``error`` is set."""

    name: str
    host: str | None = None
    port: int | None = None
    error: Error | None = None
    refuses: bool = False
    """Whether a server answered there that accepted no connection: it may start up, recover after
    a crash, shut down, or refuse this role."""
    version: Version | None = None
    system_id: int | None = None
    timeline: int | None = None
    is_primary: bool | None = None
    lsn: LSN | None = None
    """What a primary has written; what a standby has received or replayed, whichever is more."""
    lag: ReplayLag | None = None
    """How far a standby is behind its upstream."""
    receives_from: Upstream | None = None
    """To whom a standby's walreceiver is connected; None when none runs."""
    senders: tuple[WalSender, ...] = ()
    slots: tuple[SlotState, ...] = ()
    history: TimelineHistory | None = None
    """How it came to its timeline, where the role may read that."""
    repmgr: RepmgrNode | None = None
    """What repmgr has registered of it, where the connection's database is the one it uses."""
    upstream: str | None = None
    """The node that it receives from, if that is one of these."""

    @property
    def is_reachable(self) -> bool:
        """Whether it answered."""
        return self.error is None

    @property
    def major(self) -> int:
        """The major of its version.

        Raises: ValueError when it did not answer.
        """
        if self.version is None:
            raise ValueError(f"{self.name} did not tell its version")
        return self.version.major

    def __str__(self) -> str:
        if self.error is not None:
            # libpq's texts have several lines.
            state = "refuses connections" if self.refuses else "down"
            return f"{self.name}: {state} ({' '.join(str(self.error).split())})"
        where = f"timeline {self.timeline}, {self.lsn}"
        if self.is_primary:
            return f"{self.name}: primary, {where}"
        behind = ""
        if self.lag is not None:
            size = "" if self.lag.bytes is None else f", {self.lag.bytes} bytes behind"
            behind = f", {self.lag.reason}{size}"
        return f"{self.name}: standby, {where}{behind}"


@attrs.frozen
class Topology:
    """Servers, and who follows whom.

    ``str()`` draws the tree.
    """

    nodes: tuple[ClusterNode, ...]

    @classmethod
    def of(cls, nodes: Sequence[ClusterNode]) -> Topology:
        """The topology of nodes whose upstreams are not resolved yet."""
        return cls(tuple(attrs.evolve(node, upstream=_upstream(node, nodes)) for node in nodes))

    def __getitem__(self, name: str) -> ClusterNode:
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    @property
    def system_id(self) -> int | None:
        """The system identifier that most of the nodes have; None when nobody answered."""
        known = Counter(node.system_id for node in self.nodes if node.system_id is not None)
        return known.most_common(1)[0][0] if known else None

    @property
    def members(self) -> tuple[ClusterNode, ...]:
        """The nodes that answered and are of this system."""
        return tuple(n for n in self.nodes if n.is_reachable and n.system_id == self.system_id)

    @property
    def down(self) -> tuple[ClusterNode, ...]:
        """The nodes that did not answer."""
        return tuple(node for node in self.nodes if not node.is_reachable)

    @property
    def strangers(self) -> tuple[ClusterNode, ...]:
        """The nodes that are of another system."""
        return tuple(n for n in self.nodes if n.is_reachable and n.system_id != self.system_id)

    @property
    def primaries(self) -> tuple[ClusterNode, ...]:
        """The members that write: one, none, or in a split brain several."""
        return tuple(node for node in self.members if node.is_primary)

    @property
    def standbys(self) -> tuple[ClusterNode, ...]:
        """The members that follow."""
        return tuple(node for node in self.members if not node.is_primary)

    @property
    def primary(self) -> ClusterNode | None:
        """The member that writes; None when there is none.

        Raises: SplitBrain when there are several.
        """
        if len(self.primaries) > 1:
            raise self.split_brain()
        return self.primaries[0] if self.primaries else None

    def followers(self, name: str) -> tuple[ClusterNode, ...]:
        """Those that receive from that node."""
        return tuple(node for node in self.members if node.upstream == name)

    def above(self, name: str) -> tuple[ClusterNode, ...]:
        """Those from whom that node receives, directly and through others, the nearest first."""
        found: list[ClusterNode] = []
        node = self[name]
        while node.upstream is not None and self[node.upstream] not in found:
            node = self[node.upstream]
            found.append(node)
        return tuple(found)

    def best_candidate(self) -> ClusterNode | None:
        """The standby that has the most WAL on the newest timeline; None without a standby.

        Among equals, one that a commit waits for comes first, then one of a higher priority in
        repmgr, then one that receives from a primary itself, then the first by name. One of
        priority 0 is none.
        """
        writers = {node.name for node in self.primaries}
        confirming = {
            sender.application_name
            for node in self.members
            for sender in node.senders
            if sender.sync_state in _CONFIRMING
        }

        def rank(node: ClusterNode) -> tuple[int, int, bool, int, bool, str]:
            confirms = node.name in confirming or _application_name(node) in confirming
            lsn = 0 if node.lsn is None else int(node.lsn)
            direct = node.upstream in writers
            priority = -_priority(node)
            return (-(node.timeline or 0), -lsn, not confirms, priority, not direct, node.name)

        return min((node for node in self.standbys if _priority(node)), key=rank, default=None)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with it; nothing when each node has its place in one tree."""
        return tuple(self._findings())

    def to_dict(self) -> dict[str, Plain]:
        """All of it as JSON knows it."""
        return {
            "system_id": self.system_id,
            "nodes": [_plain_node(node) for node in self.nodes],
            "findings": plain(self.findings),
        }

    def __str__(self) -> str:
        lines = []
        if len(self.primaries) > 1:
            lines.append(f"!! {self.split_brain()}")
        drawn: set[str] = set()
        roots = [node for node in self.members if node.upstream is None]
        for root in sorted(roots, key=lambda node: (not node.is_primary, node.name)):
            lines += self._tree(root, drawn)
        for node in self.members:
            if node.name not in drawn:  # standbys that follow each other round
                lines += [f"!! a circle without a primary, from {node.name}"]
                lines += self._tree(node, drawn)
        lines += [str(node) for node in self.down]
        lines += [f"{node.name}: of another system ({node.system_id})" for node in self.strangers]
        return "\n".join(lines)

    def _tree(self, root: ClusterNode, drawn: set[str]) -> list[str]:
        drawn.add(root.name)
        return [str(root), *self._branches(root.name, "", drawn)]

    def _branches(self, name: str, indent: str, drawn: set[str]) -> Iterator[str]:
        followers = [node for node in self.followers(name) if node.name not in drawn]
        for number, node in enumerate(sorted(followers, key=lambda node: node.name), 1):
            drawn.add(node.name)
            last = number == len(followers)
            yield f"{indent}{'└── ' if last else '├── '}{node}"
            yield from self._branches(node.name, indent + ("    " if last else "│   "), drawn)

    def split_brain(self) -> SplitBrain:
        """The error that tells of several primaries, and where they parted."""
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
            yield _finding("primary", Severity.CRITICAL, "none answered", "one primary")
        for node in self.down:
            yield _finding(node.name, Severity.CRITICAL, str(node.error), "a server that answers")
        for node in self.strangers:
            found = f"system {node.system_id}"
            needed = f"{self.system_id}, as the others"
            yield _finding(node.name, Severity.CRITICAL, found, needed)
        for node in self.standbys:
            if node.upstream is None:
                source = node.receives_from
                found = f"it receives from {source.address if source else 'no server'}"
                yield _finding(
                    node.name, Severity.WARNING, found, "an upstream among these servers"
                )


def _finding(check: str, severity: Severity, found: str, needed: str) -> Finding:
    return Finding(check=check, severity=severity, found=found, needed=needed)


def _plain_node(node: ClusterNode) -> Plain:
    names = ("name", "host", "port", "error", "version", "system_id", "timeline", "is_primary")
    told: dict[str, Plain] = {name: plain(getattr(node, name)) for name in names}
    return {
        **told,
        "lsn": plain(node.lsn),
        "upstream": node.upstream,
        "lag": plain(node.lag),
        "priority": None if node.repmgr is None else node.repmgr.priority,
    }


def _priority(node: ClusterNode) -> int:
    return 100 if node.repmgr is None else node.repmgr.priority


def _application_name(node: ClusterNode) -> str | None:
    return node.receives_from.known_as if node.receives_from else None


def _upstream(node: ClusterNode, nodes: Sequence[ClusterNode]) -> str | None:
    """The node that it receives from: by address, else by slot, else by application_name."""
    source = node.receives_from
    if source is None:
        return None
    others = [n for n in nodes if n is not node and n.is_reachable]
    others = [other for other in others if other.system_id == node.system_id]
    for found in (
        [other for other in others if (other.host, other.port) == (source.host, source.port)],
        [other for other in others if source.slot_name in _slots_in_use(other)],
        [other for other in others if source.application_name in _receivers_of(other)],
    ):
        if len(found) == 1:
            return found[0].name
    return None


def _slots_in_use(node: ClusterNode) -> set[str | None]:
    streaming = {sender.pid for sender in node.senders}
    return {slot.slot_name for slot in node.slots if slot.active_pid in streaming}


def _receivers_of(node: ClusterNode) -> set[str | None]:
    backup = SenderState.BACKUP
    return {sender.application_name for sender in node.senders if sender.state is not backup}


class SplitBrain(Error):
    """Several servers of one cluster write.

    Attributes:
        primaries: the timeline of each, by name.
        timeline: the last timeline that they share; None when it is not known.
        lsn: where on it they parted; None when it is not known.
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
            where = f", which parted on timeline {self.timeline} at {self.lsn}"
        return (
            f"split brain: {who} both write{where}; stop all but one of them now,"
            " before their clients write more that only one has"
        )
