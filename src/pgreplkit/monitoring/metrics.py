"""Metrics of samples: names, labels and values, for any monitoring system."""

from collections.abc import Iterable, Iterator
from enum import Enum
from functools import cache
from math import inf
from typing import NamedTuple

import attrs

from pgreplkit.catalog.server.lag import LagReason
from pgreplkit.catalog.server.senders import SenderState, WalSender
from pgreplkit.catalog.server.slot import SlotState, SlotType, WalStatus
from pgreplkit.monitoring.problems import CheckStatus, split_brain, status_of
from pgreplkit.plans.cluster.watch import NodeSample, WatchSample
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.plans.server.retention import WalRetention
from pgreplkit.values.openenum import OpenEnum

_CONFLICTS = "confl_"


class MetricKind(Enum):
    """How a metric's value changes."""

    GAUGE = "gauge"
    COUNTER = "counter"
    """It only grows: a fall is a reset of the server's statistics."""
    POSITION = "position"
    """It only grows: a fall is a server that was rewound."""


@attrs.frozen
class Metric:
    """A metric; its labels are those after the server's name."""

    name: str
    about: str
    labels: tuple[str, ...] = ()
    kind: MetricKind = MetricKind.GAUGE
    of_server: bool = True
    label_names: tuple[str, ...] = attrs.field(init=False)
    """All labels, in the order of a point's labels."""

    @label_names.default
    def _all(self) -> tuple[str, ...]:
        return ("server", *self.labels) if self.of_server else self.labels


# Not an attrs class, which takes longer to create: a scrape creates thousands.
class Point(NamedTuple):
    """A value of a metric."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


_SENDER, _SLOT, _SUB = ("application_name", "kind", "stage"), ("slot", "type"), ("subscription",)
_COUNTER = MetricKind.COUNTER
_ALL = [
    Metric("up", "1 if the server answered."),
    Metric("check_status", "Exit status of a check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."),
    Metric(
        "split_brain",
        "1 if several primaries have the system identifier.",
        ("system_id",),
        of_server=False,
    ),
    Metric("info", "1; the labels describe the server.", ("role", "system_id", "timeline")),
    Metric(
        "wal_bytes",
        "Position in bytes: written by a primary, replayed by a standby.",
        kind=MetricKind.POSITION,
    ),
    Metric("replay_lag_bytes", "WAL that a standby has not replayed; absent if it is unknown."),
    Metric("replay_lag_seconds", "Age of the last replayed commit; 0 if caught up."),
    Metric("replay_state", "1 for the state of a standby's replay, 0 for the others.", ("state",)),
    Metric("sender_lag_bytes", "WAL that a receiver has not reported for a stage.", _SENDER),
    Metric(
        "sender_lag_seconds", "Delay of a receiver at a stage, as the server measures it.", _SENDER
    ),
    Metric("senders", "Number of walsenders."),
    Metric("slot_active", "1 if a process uses the slot.", _SLOT),
    Metric("slot_retained_bytes", "WAL that the slot retains.", _SLOT),
    Metric("slot_safe_bytes", "WAL that can be written before the slot may be lost.", _SLOT),
    Metric("slot_lag_bytes", "WAL that the client of a logical slot has not confirmed.", _SLOT),
    Metric("slot_state", "1 for the slot's wal_status, 0 for the others.", (*_SLOT, "state")),
    Metric("wal_directory_bytes", "Size of pg_wal."),
    Metric("wal_retained_bytes", "WAL retained by the holders of a kind.", ("holder",)),
    Metric("wal_time_left_seconds", "Time until the first slot is lost, at the present rate."),
    Metric("archiver_failing", "1 if the archiver's last attempt failed."),
    Metric("archiver_failed", "Failed attempts to archive a file.", kind=_COUNTER),
    Metric("archiver_archived", "Archived files.", kind=_COUNTER),
    Metric("archiver_ready_files", "Files that wait to be archived."),
    Metric("archiver_last_age_seconds", "Time since the last file was archived."),
    Metric("subscription_enabled", "1 if the subscription is enabled.", _SUB),
    Metric("subscription_applying", "1 if the subscription's apply worker runs.", _SUB),
    Metric("subscription_tables", "Tables of the subscription in a state.", (*_SUB, "state")),
    Metric(
        "subscription_errors", "Errors of the subscription's workers.", (*_SUB, "kind"), _COUNTER
    ),
    Metric("subscription_conflicts", "Conflicts of applied changes.", (*_SUB, "type"), _COUNTER),
]
METRICS = {metric.name: metric for metric in _ALL}
_INFO = METRICS["info"]


def points_of(sample: WatchSample) -> list[Point]:
    """Return the points of a sample, each series once.

    Two walsenders can have the same application_name: the highest value counts.
    """
    highest: dict[tuple[str, tuple[str, ...]], float] = {}
    for name, labels, value in _values(sample):
        key = name, labels
        if value > highest.get(key, -inf):
            highest[key] = value
    # A plus makes numbers of True and False, which not every exporter takes for numbers.
    return [Point(METRICS[name], labels, +value) for (name, labels), value in highest.items()]


class Counters:
    """Counters that never fall, whatever happens to the server's own."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, tuple[str, ...]], float] = {}
        self._before: dict[tuple[str, tuple[str, ...]], float] = {}
        self._systems: dict[str, str] = {}
        """The system of each server."""

    def grown(self, points: Iterable[Point]) -> Iterator[Point]:
        """Yield the points, with counters that continue after a reset or a rewind."""
        for point in points:
            metric, labels, value = point
            if metric is _INFO:
                self._note_system(labels)
            if metric.kind is MetricKind.GAUGE:
                yield point
                continue
            key = metric.name, labels
            last = self._last.get(key, 0.0)
            if metric.kind is MetricKind.POSITION:
                # WAL that was rewound is written again, and must not count twice.
                value = self._last[key] = max(last, value)
                value += self._before.get(key, 0.0)
            else:
                # The count before the reset is added, so that the rate of a counter is never
                # negative.
                before = self._before.get(key, 0.0) + (last if value < last else 0.0)
                self._before[key], self._last[key] = before, value
                value += before
            yield Point(metric, labels, value)

    def _note_system(self, labels: tuple[str, ...]) -> None:
        """Begin again at the position of another system that has the name of a server now."""
        server, _, system, _ = labels
        # A server that restarts may not say it at once.
        known = self._systems.get(server, system)
        self._systems[server] = system or known
        if system and known and system != known:
            for name, of in [*self._last]:
                if METRICS[name].kind is MetricKind.POSITION and of[0] == server:
                    key = name, of
                    self._before[key] = self._before.get(key, 0.0) + self._last.pop(key)


Value = tuple[str, tuple[str, ...], float]


def _values(sample: WatchSample) -> Iterator[Value]:
    # One server's own state does not show it: each of them is a healthy primary.
    writers = {name for names in split_brain(sample.nodes) for name in names}
    for node in sample.nodes.values():
        server = _label(node.name)
        yield "up", (server,), node.error is None
        status = CheckStatus.CRITICAL if node.name in writers else status_of(node)
        yield "check_status", (server,), status.exit_code
        if node.error is None:
            yield "split_brain", (_text(node.system_id),), node.name in writers
            for name, labels, value in _of_node(node):
                yield name, (server, *labels), value


def _of_node(node: NodeSample) -> Iterator[Value]:
    yield "info", (_text(node.role), _text(node.system_id), _text(node.timeline)), 1
    if node.lsn is not None:
        yield "wal_bytes", (), int(node.lsn)
    if node.lag is not None:
        yield from _one_of("replay_state", (), LagReason, node.lag.reason)
        if node.lag.bytes is not None:
            yield "replay_lag_bytes", (), node.lag.bytes
        if node.lag.time is not None:
            yield "replay_lag_seconds", (), node.lag.time.total_seconds()
    yield "senders", (), len(node.senders)
    # pg_stat_replication does not say what a client receives; the slot that its process uses does.
    logical = {slot.active_pid for slot in node.slots if slot.slot_type is SlotType.LOGICAL}
    for sender in node.senders:
        yield from _of_sender(sender, "logical" if sender.pid in logical else _kind_of(sender))
    for slot in node.slots:
        yield from _of_slot(slot)
    if node.retention is not None:
        yield from _of_retention(node.retention)
    for subscription in node.subscriptions:
        yield from _of_subscription(subscription)


def _one_of(
    name: str, labels: tuple[str, ...], states: type[OpenEnum], found: str
) -> Iterator[Value]:
    texts = _texts(states)
    # A state of a newer server is a series of its own.
    for text in texts if found in texts else (*texts, _label(found)):
        yield name, (*labels, text), text == found


@cache
def _texts(states: type[OpenEnum]) -> tuple[str, ...]:
    return tuple(map(str, states))


def _kind_of(sender: WalSender) -> str:
    if sender.state is SenderState.BACKUP:
        return "backup"
    # Programs such as pg_receivewal replay nothing, and so report no position of replay.
    return "streamer" if sender.replay_lsn is None else "standby"


def _of_sender(sender: WalSender, kind: str) -> Iterator[Value]:
    lag, name = sender.lag, _label(sender.application_name)
    for stage, count, delay in (
        ("sent", lag.sent_bytes, None),
        ("write", lag.write_bytes, sender.write_lag),
        ("flush", lag.flush_bytes, sender.flush_lag),
        ("replay", lag.replay_bytes, sender.replay_lag),
    ):
        labels = (name, kind, stage)
        if count is not None:
            yield "sender_lag_bytes", labels, count
        # An idle server measures nothing: without bytes to wait for there is no delay.
        if delay is not None or (count == 0 and stage != "sent"):
            yield "sender_lag_seconds", labels, delay.total_seconds() if delay else 0.0


def _of_slot(slot: SlotState) -> Iterator[Value]:
    labels = (_label(slot.slot_name), str(slot.slot_type))
    yield "slot_active", labels, slot.active
    yield "slot_retained_bytes", labels, slot.retained_bytes
    if slot.safe_wal_size is not None:
        yield "slot_safe_bytes", labels, slot.safe_wal_size
    if slot.confirmed_flush_lsn is not None:
        # A client may confirm more between the two reads.
        yield "slot_lag_bytes", labels, max(0, slot.current_lsn - slot.confirmed_flush_lsn)
    status = WalStatus.LOST if slot.is_lost else slot.wal_status
    # Before 13 the server does not say.
    if status is not None:
        yield from _one_of("slot_state", labels, WalStatus, status)


def _of_retention(report: WalRetention) -> Iterator[Value]:
    yield "wal_directory_bytes", (), report.directory_bytes
    for holder in report.holders:
        yield "wal_retained_bytes", (str(holder.kind),), holder.bytes
    left = [holder.time_left for holder in report.holders if holder.time_left is not None]
    if left:
        yield "wal_time_left_seconds", (), min(left).total_seconds()
    archiver = report.archiver
    # Without an archiver, zeros would look like an archiver that works.
    if archiver.archive_mode != "off":
        yield "archiver_failing", (), archiver.is_failing
        yield "archiver_failed", (), archiver.failed_count
        yield "archiver_archived", (), archiver.archived_count
        if report.ready_count is not None:
            yield "archiver_ready_files", (), report.ready_count
        if archiver.last_archived_time is not None:
            age = report.observed_at - archiver.last_archived_time
            yield "archiver_last_age_seconds", (), max(0.0, age.total_seconds())


def _of_subscription(found: SubscriptionStatus) -> Iterator[Value]:
    name = _label(found.state.subname)
    yield "subscription_enabled", (name,), found.state.subenabled
    yield "subscription_applying", (name,), found.is_applying
    states = [table.state for table in found.tables]
    for state in dict.fromkeys(states):
        yield "subscription_tables", (name, state.name.lower()), states.count(state)
    stats = found.stats
    if stats is not None:
        yield "subscription_errors", (name, "apply"), stats.apply_error_count
        yield "subscription_errors", (name, "sync"), stats.sync_error_count
        for field in attrs.fields(type(stats)):
            count = getattr(stats, field.name)
            if field.name.startswith(_CONFLICTS) and count is not None:
                conflict = field.name.removeprefix(_CONFLICTS)
                yield "subscription_conflicts", (name, conflict), count


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _label(text: str) -> str:
    # A name of a server with encoding SQL_ASCII may have characters that UTF-8 lacks.
    return str(text) if text.isascii() else text.encode("utf-8", "replace").decode()
