"""WatchSample: the state of several servers at about the same time."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, overload

import attrs

from pgreplkit._hooks import plot
from pgreplkit._text import counted
from pgreplkit.catalog.server.lag import LagReason, ReplayLag
from pgreplkit.catalog.server.senders import WalSender
from pgreplkit.catalog.server.slot import SlotState
from pgreplkit.errors import Error, NodeNotFound
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.plans.server.retention import WalRetention
from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record
from pgreplkit.values.text import size_text, table_text, value_text, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@attrs.frozen(kw_only=True)
class NodeSample(Record):
    """The state of one server; if it did not answer, only ``error`` is set."""

    name: str
    error: Error | None = None
    is_primary: bool | None = None
    system_id: int | None = None
    started_at: datetime | None = None
    """Start of the server, which two names for one server have in common."""
    timeline: int | None = None
    lsn: LSN | None = None
    """Position written by a primary, or replayed by a standby."""
    wal_rate: float | None = None
    """WAL in bytes per second since the previous sample; None in the first."""
    lag: ReplayLag | None = None
    """Lag of a standby behind its upstream; None for a primary."""
    senders: tuple[WalSender, ...] = ()
    """Its walsenders, each with the lag of its receiver."""
    slots: tuple[SlotState, ...] = ()
    retention: WalRetention | None = None
    """The WAL that it retains, and the archiver; only if the watch asks for it."""
    subscriptions: tuple[SubscriptionStatus, ...] = ()
    """The subscriptions of the connection's database; only if the watch asks for them."""
    observed_at: datetime | None = None
    """Time by the server's clock."""

    @property
    def retained_bytes(self) -> int | None:
        """WAL retained by slots, in bytes: that of the slot that is furthest behind.

        None if the server did not answer.
        """
        if self.error is not None:
            return None
        return max((slot.retained_bytes for slot in self.slots), default=0)

    @property
    def role(self) -> str | None:
        """The role, "primary" or "standby"; None if the server did not answer."""
        return {True: "primary", False: "standby", None: None}[self.is_primary]

    def _to_record(self) -> dict[str, object]:
        lag = self.lag
        # A walsender that has just connected reports no position yet.
        replays = [s.lag.replay_bytes for s in self.senders if s.lag.replay_bytes is not None]
        # Nothing was counted then, which is not the same as 0.
        is_down = self.error is not None
        return {
            "name": self.name,
            "role": self.role,
            "timeline": self.timeline,
            "lsn": None if self.lsn is None else int(self.lsn),
            "wal_rate": self.wal_rate,
            "lag_bytes": lag.bytes if lag else None,
            "lag_time": lag.time if lag else None,
            "lag_stage": lag.stage.value if lag and lag.stage else None,
            "lag_reason": lag.reason.value if lag else None,
            "senders": None if is_down else len(self.senders),
            "senders_lag_bytes": max(replays, default=None),
            "slots": None if is_down else len(self.slots),
            "retained_bytes": self.retained_bytes,
            "error": None if self.error is None else str(self.error),
        }

    def __str__(self) -> str:
        if self.error is not None:
            return "\n".join(wrapped(f"{self.name}: no answer ({self.error})", then="    "))
        text = f"{self.name}: {self.role}, timeline {self.timeline}, {self.lsn}"
        if self.lag is not None:
            text += f", {self.lag}"
        if retained := retained_text(self):
            text += f", slots retain {retained}"
        return "\n".join(wrapped(text, then="    "))


@attrs.frozen(kw_only=True)
class WatchSample(Record):
    """The state of all servers in one round, by name."""

    taken_at: datetime
    """End of the round, by the clock of this machine."""
    nodes: Mapping[str, NodeSample]

    def __getitem__(self, name: str) -> NodeSample:
        """Return the sample of the server of that name.

        Raises:
            NodeNotFound: If there is no such server.
        """
        if name not in self.nodes:
            raise NodeNotFound(name, (*self.nodes,))
        return self.nodes[name]

    def __iter__(self) -> Iterator[NodeSample]:
        return iter(self.nodes.values())

    def __contains__(self, node: object) -> bool:
        """Return whether the sample has this server, or a server of that name."""
        return any(node in item for item in self.nodes.items())

    def __len__(self) -> int:
        return len(self.nodes)

    def to_records(self) -> list[dict[str, object]]:
        """Return one flat record per server, as rows for pandas or polars.

        The columns have the types of ``pgreplkit.to_records``.
        """
        return [{"taken_at": self.taken_at, **node._to_record()} for node in self.nodes.values()]

    def __str__(self) -> str:
        return "\n".join([f"{value_text(self.taken_at)}:", *map(str, self.nodes.values())])


@attrs.frozen
class WatchSamples(Record, Sequence[WatchSample]):
    """A sequence of samples, oldest first."""

    samples: tuple[WatchSample, ...]

    @overload
    def __getitem__(self, index: int) -> WatchSample: ...
    @overload
    def __getitem__(self, index: slice) -> "WatchSamples": ...
    def __getitem__(self, index: int | slice) -> "WatchSample | WatchSamples":
        """Return the sample at an index, or the samples of a slice."""
        if isinstance(index, slice):
            return WatchSamples(self.samples[index])
        return self.samples[index]

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[WatchSample]:
        return iter(self.samples)

    def to_records(self) -> list[dict[str, object]]:
        """Return the records of all samples, as in ``pandas.DataFrame(samples.to_records())``."""
        return [record for sample in self.samples for record in sample.to_records()]

    def plot(self, y: str = "lag_bytes", *, ax: "Axes | None" = None) -> "Axes":
        """Draw a column of ``to_records()`` over time with matplotlib, one line for each server.

        Return the axes, for titles and limits; by default they are those of a new figure. Lines
        have gaps where the value is unknown.

        >>> axes = samples.plot("retained_bytes")  # doctest: +SKIP

        Raises:
            ValueError: If no column of numbers or durations has that name.
            ImportError: If matplotlib is not installed: ``pip install 'pgreplkit[notebook]'``.
        """
        return plot(self, y, ax)

    def __str__(self) -> str:
        if not self.samples:
            return "no samples"
        first, last = self.samples[0], self.samples[-1]
        taken = f"{value_text(first.taken_at)} to {value_text(last.taken_at)}"
        rows = [self._summary_of(name, node) for name, node in last.nodes.items()]
        return "\n".join([f"{counted(len(self.samples), 'sample')}, {taken}", *table_text(rows)])

    def _summary_of(self, name: str, last: NodeSample) -> dict[str, object]:
        """Return the last state of a server, and the extremes of all samples."""
        # Nodes can be added to a watch later.
        own = [sample.nodes[name] for sample in self.samples if name in sample.nodes]
        lags = [node.lag.bytes for node in own if node.lag and node.lag.bytes is not None]
        lag = last.lag
        return {
            "name": name,
            "role": last.role,
            "no answer": sum(node.error is not None for node in own),
            "lag": size_text(lag.bytes) if lag and lag.bytes is not None else None,
            "time": lag.time if lag else None,
            "reason": lag.reason if lag else None,
            "highest lag": size_text(max(lags)) if lags else None,
            "slots retain": retained_text(last),
        }


def retained_text(node: NodeSample) -> str | None:
    """Return the size of the WAL that slots retain; None without slots, or without an answer."""
    if not node.slots or node.retained_bytes is None:
        return None
    return size_text(node.retained_bytes)


def compared(node: NodeSample, before: WatchSample | None) -> NodeSample:
    """Add what follows from the previous sample: the WAL rate, and a lag of the upstream.

    A standby that has all WAL of its upstream has not caught up if that upstream is itself
    a standby, and has less WAL than the primary had one round ago.
    """
    # The first round has nothing to compare with.
    if before is None or node.error is not None:
        return node
    node = attrs.evolve(node, wal_rate=_rate(before.nodes.get(node.name), node))
    primaries = [
        other.lsn
        for other in before.nodes.values()
        if other.is_primary and other.system_id == node.system_id and other.lsn is not None
    ]
    lag = node.lag
    if lag is None or lag.reason is not LagReason.CAUGHT_UP or node.lsn is None or not primaries:
        return node
    # The primary is of the round before: its later WAL cannot have arrived.
    missing = max(primaries) - node.lsn
    if missing <= 0:
        return node
    behind = attrs.evolve(lag, reason=LagReason.UPSTREAM_BEHIND, bytes=missing, time=None)
    return attrs.evolve(node, lag=behind)


def _rate(before: NodeSample | None, now: NodeSample) -> float | None:
    if before is None or before.lsn is None or now.lsn is None:
        return None
    # Both times are the server's own: the clock of this machine may differ.
    if before.observed_at is None or now.observed_at is None:
        return None
    seconds = (now.observed_at - before.observed_at) / timedelta(seconds=1)
    # A position may go back, after pg_rewind or another server at the same address.
    return max(0, now.lsn - before.lsn) / seconds if seconds > 0 else None
