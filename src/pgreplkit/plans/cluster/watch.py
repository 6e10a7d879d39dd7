"""WatchSample: the state of several servers at about the same time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import overload

import attrs

from pgreplkit.catalog.server.lag import LagReason, ReplayLag
from pgreplkit.catalog.server.senders import WalSender
from pgreplkit.catalog.server.slot import SlotState
from pgreplkit.errors import Error, NodeNotFound
from pgreplkit.values.lsn import LSN
from pgreplkit.values.plain import JSONValue, plain


@attrs.frozen(kw_only=True)
class NodeSample:
    """The state of one server; if it did not answer, only ``error`` is set."""

    name: str
    error: Error | None = None
    is_primary: bool | None = None
    system_id: int | None = None
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
    observed_at: datetime | None = None
    """Time by the server's clock."""

    @property
    def retained_bytes(self) -> int:
        """WAL retained by slots, in bytes: that of the slot that is furthest behind."""
        return max((slot.retained_bytes for slot in self.slots), default=0)

    def record(self) -> dict[str, JSONValue]:
        """Return the sample as one flat record of strings and numbers."""
        lag = self.lag
        replays = [s.lag.replay_bytes for s in self.senders if s.lag.replay_bytes is not None]
        roles = {True: "primary", False: "standby", None: None}
        return {
            "name": self.name,
            "role": roles[self.is_primary],
            "timeline": self.timeline,
            "lsn": plain(self.lsn),
            "lsn_bytes": None if self.lsn is None else int(self.lsn),
            "wal_rate": self.wal_rate,
            "lag_bytes": lag.bytes if lag else None,
            "lag_seconds": plain(lag.time) if lag else None,
            "lag_stage": plain(lag.stage) if lag else None,
            "lag_reason": plain(lag.reason) if lag else None,
            "senders": None if self.error else len(self.senders),
            "senders_lag_bytes": max(replays, default=None),
            "slots": None if self.error else len(self.slots),
            "retained_bytes": None if self.error else self.retained_bytes,
            "error": None if self.error is None else str(self.error),
        }


@attrs.frozen(kw_only=True)
class WatchSample:
    """The state of all servers in one round, by name."""

    taken_at: datetime
    """End of the round, by the clock of this machine."""
    nodes: Mapping[str, NodeSample]

    def __getitem__(self, name: str) -> NodeSample:
        if name not in self.nodes:
            raise NodeNotFound(name, (*self.nodes,))
        return self.nodes[name]

    def to_records(self) -> list[dict[str, JSONValue]]:
        """Return one flat record per server, as rows for pandas or polars."""
        return [
            {"taken_at": self.taken_at.isoformat(), **node.record()} for node in self.nodes.values()
        ]


@attrs.frozen
class WatchSamples(Sequence[WatchSample]):
    """A sequence of samples, oldest first."""

    samples: tuple[WatchSample, ...]

    @overload
    def __getitem__(self, index: int) -> WatchSample: ...
    @overload
    def __getitem__(self, index: slice) -> WatchSamples: ...
    def __getitem__(self, index: int | slice) -> WatchSample | WatchSamples:
        """Return the sample at an index, or the samples of a slice."""
        if isinstance(index, slice):
            return WatchSamples(self.samples[index])
        return self.samples[index]

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[WatchSample]:
        return iter(self.samples)

    def to_records(self) -> list[dict[str, JSONValue]]:
        """Return the records of all samples, as in ``pandas.DataFrame(samples.to_records())``."""
        return [record for sample in self.samples for record in sample.to_records()]


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
    # The primary is of the round before: what it wrote since cannot have arrived.
    missing = max(primaries) - node.lsn
    if missing <= 0:
        return node
    behind = attrs.evolve(lag, reason=LagReason.UPSTREAM_BEHIND, bytes=missing, time=None)
    return attrs.evolve(node, lag=behind)


def _rate(before: NodeSample | None, now: NodeSample) -> float | None:
    if before is None or before.lsn is None or now.lsn is None:
        return None
    if before.observed_at is None or now.observed_at is None:
        return None
    seconds = (now.observed_at - before.observed_at) / timedelta(seconds=1)
    # A position may go back, after pg_rewind or another server at the same address.
    return max(0, now.lsn - before.lsn) / seconds if seconds > 0 else None
