"""Nodes: a model of servers that all write, to find out whether a policy converges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import attrs

from pgreplkit.apply.policies import (
    Decision,
    DeltaColumns,
    LastUpdateWins,
    MergeWith,
    NodePriority,
    Policy,
)
from pgreplkit.apply.versions import Version
from pgreplkit.protocol.pgoutput.rows import named_rows

_ROW = named_rows(("value",))
_BEGIN = datetime(2000, 1, 1, tzinfo=UTC)


@attrs.frozen
class Write:
    """A change of one row; ``value`` is None if it deletes the row."""

    key: int
    value: int | None
    is_insert: bool
    version: Version
    before: int | None = None
    """The value that the row had on the node of the writer."""
    added: int = 0
    """The difference of the row's delta column."""


@attrs.define
class _Node:
    rank: int
    skew: int
    """Ticks by which its clock is ahead."""
    rows: dict[int, Write] = attrs.field(factory=dict)
    """The last write of each key, with the deletions that are remembered."""
    sums: dict[int, int] = attrs.field(factory=dict)
    """The delta column of each row."""
    log: list[tuple[Write, ...]] = attrs.field(factory=list)
    """The transactions that were committed here."""
    applied: dict[str, int] = attrs.field(factory=dict)
    """The number of each other node's transactions that were applied here."""


class Nodes:
    """Servers that send their changes to each other, each in the order of its commits.

    Time passes in ticks. Commits within a tick have equal times. The switches leave out one part of
    what LastUpdateWins needs, so that tests can show that each is needed.
    """

    def __init__(
        self,
        policy: Policy,
        skews: Sequence[int],
        *,
        remembers_deletions: bool = True,
        inserts_missing: bool = True,
        waits_for_clock: bool = True,
        keeps_stamps: bool = True,
    ) -> None:
        self._policy = policy
        self._is_stamped = isinstance(policy, LastUpdateWins)
        # Other policies see conflicts only by rows that exist or not.
        self._sees_writers = self._is_stamped or isinstance(policy, NodePriority)
        self._remembers = self._is_stamped and remembers_deletions
        self._inserts_missing = self._sees_writers and inserts_missing
        self._waits = self._is_stamped and waits_for_clock
        self._adds, self._keeps_stamps = isinstance(policy, DeltaColumns), keeps_stamps
        self._now = 0
        self._nodes = {f"n{rank}": _Node(rank, skew) for rank, skew in enumerate(skews)}
        # A node that left keeps its rank: rows that it wrote are still compared.
        self._next_rank = len(self._nodes)
        for name, node in self._nodes.items():
            node.applied = {other: 0 for other in self._nodes if other != name}

    @property
    def names(self) -> list[str]:
        """The names of the nodes."""
        return [*self._nodes]

    def rows(self, name: str) -> dict[int, int]:
        """Return the rows that a query on the node would see."""
        written = self._nodes[name].rows.values()
        return {write.key: write.value for write in written if write.value is not None}

    def sums(self, name: str) -> dict[int, int]:
        """Return the delta columns of these rows."""
        return {**self._nodes[name].sums}

    # Writers

    def write(self, name: str, key: int, value: int) -> None:
        """Update the row, or insert it if there is none."""
        if not self._is_refused(name, key):
            self._commit(name, self._new(name, key, value, added=value))

    def delete(self, name: str, key: int) -> None:
        """Delete the row if there is one."""
        if key in self.rows(name):
            self._commit(name, self._new(name, key, None))

    def move(self, name: str, key: int, to: int) -> None:
        """Change the key of a row, if there is a row and the new key is free."""
        rows = self.rows(name)
        if key in rows and to not in rows and not self._is_refused(name, to):
            added = self._nodes[name].sums.get(key, 0)
            moved = self._new(name, to, rows[key], added=added)
            self._commit(name, self._new(name, key, None), moved)

    def _is_refused(self, name: str, key: int) -> bool:
        """Return whether a key was deleted that cannot be used again."""
        last = self._nodes[name].rows.get(key)
        return self._adds and last is not None and last.value is None

    def _new(self, name: str, key: int, value: int | None, added: int = 0) -> Write:
        node = self._nodes[name]
        version = Version(self._clock(node), name, node.rank)
        before = self.rows(name).get(key)
        return Write(key, value, before is None, version, before, added)

    def _clock(self, node: _Node) -> datetime:
        return _BEGIN + timedelta(seconds=self._now + node.skew)

    def _must_wait(self, node: _Node, writes: Iterable[Write]) -> bool:
        """Return whether the node's clock has not passed the commit times of all writes."""
        times = [write.version.commit_time for write in writes]
        return self._waits and any(time and self._clock(node) <= time for time in times)

    def _commit(self, name: str, *writes: Write) -> None:
        for write in writes:
            self._store(self._nodes[name], write)
            if self._adds:
                self._add(self._nodes[name], write)
        self._nodes[name].log.append(writes)

    def _store(self, node: _Node, write: Write) -> None:
        if write.value is None and not self._remembers:
            node.rows.pop(write.key, None)
        else:
            node.rows[write.key] = write

    # Replication

    def tick(self) -> None:
        """Let time pass on all nodes."""
        self._now += 1

    def deliver(self, source: str, target: str) -> bool:
        """Apply the next transaction of ``source``; return False if it waits, or there is none."""
        node, log = self._nodes[target], self._nodes[source].log
        position = node.applied[source]
        if position == len(log):
            return False
        if self._must_wait(node, log[position]):
            return False
        # A transaction is applied as a whole: no query sees a part of it.
        for write in log[position]:
            self._apply(node, write)
        node.applied[source] += 1
        return True

    def _apply(self, node: _Node, write: Write) -> None:
        local = node.rows.get(write.key)
        if self._adds:
            self._apply_difference(node, local, write)
            return
        if isinstance(self._policy, MergeWith):
            self._store(node, self._merged(self._policy, local, write))
        # Neither a row nor a deletion that is remembered: no policy is asked.
        elif local is None and write.is_insert:
            self._store(node, write)
        elif local is None and write.value is not None and not self._inserts_missing:
            return
        elif local is not None and not self._sees_writers and not write.is_insert:
            # Without versions, a change of an existing row is not a conflict.
            self._store(node, write)
        elif self._decides(local, write) is Decision.APPLY:
            self._store(node, write)

    def _apply_difference(self, node: _Node, local: Write | None, write: Write) -> None:
        # A deletion wins over every change.
        if local is not None and local.value is None:
            return
        self._add(node, write)
        if local is None or write.value is None or self._decides(local, write) is Decision.APPLY:
            self._store(node, write)
        elif not self._keeps_stamps:
            # As if the version of the row were that of the transaction that wrote it last.
            node.rows[write.key] = attrs.evolve(local, version=write.version)

    @staticmethod
    def _add(node: _Node, write: Write) -> None:
        if write.value is None:
            node.sums.pop(write.key, None)
        else:
            node.sums[write.key] = node.sums.get(write.key, 0) + write.added

    def _merged(self, policy: MergeWith, local: Write | None, remote: Write) -> Write:
        """Return the write after which the row has the merged value."""
        is_same = local is not None and local.value == remote.before and not remote.is_insert
        if local is None or local.value is None or remote.value is None or is_same:
            return remote
        merged = policy.merge(_ROW((local.value,)), _ROW((remote.value,)))["value"]
        return attrs.evolve(remote, value=int(str(merged)))

    def _decides(self, local: Write | None, remote: Write) -> Decision:
        return self._policy.decide(None if local is None else local.version, remote.version)

    def resend(self, source: str, target: str, transactions: int) -> None:
        """Send transactions again that were applied already, as after a restart."""
        node = self._nodes[target]
        node.applied[source] = max(node.applied[source] - transactions, 0)

    def join(self, name: str, donor: str, skew: int, repeated: int) -> None:
        """Add a node with the donor's rows; it gets ``repeated`` transactions of each node again.

        It is not written before its clock has passed the donor's, as with other changes.
        """
        rows, sums = self._nodes[donor].rows, self._nodes[donor].sums
        node = _Node(self._next_rank, skew, {**rows}, {**sums})
        self._next_rank += 1
        positions = {**self._nodes[donor].applied, donor: len(self._nodes[donor].log)}
        node.applied = {one: max(at - repeated, 0) for one, at in positions.items()}
        for other in self._nodes.values():
            other.applied[name] = 0
        self._nodes[name] = node
        while self._must_wait(node, node.rows.values()):
            self.tick()

    def leave(self, name: str) -> None:
        """Remove a node when all others have applied its changes."""
        others = [other for other in self._nodes if other != name]
        self._deliver_all([(name, other) for other in others])
        del self._nodes[name]
        for other in others:
            del self._nodes[other].applied[name]

    def settle(self) -> None:
        """Deliver everything, all changes of one node before those of the next."""
        self._deliver_all([(one, two) for one in self.names for two in self.names if one != two])

    def _deliver_all(self, ways: Sequence[tuple[str, str]]) -> None:
        for source, target in ways:
            node, log = self._nodes[target], self._nodes[source].log
            while node.applied[source] < len(log):
                if not self.deliver(source, target):
                    self.tick()
