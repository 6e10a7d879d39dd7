"""The problems and figures that a check finds in a report."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import singledispatch

import attrs

from pgreplkit._text import counted
from pgreplkit.catalog.server.lag import LagReason, ReplayLag
from pgreplkit.catalog.server.slot import SlotState, WalStatus
from pgreplkit.errors import ConnectionFailed, Error, WaitTimeout
from pgreplkit.offline.archive import ArchiveReport
from pgreplkit.offline.damage import InvalidWal
from pgreplkit.offline.records import WalRecord
from pgreplkit.offline.stats import WalStats
from pgreplkit.offline.xacts import WalCommit
from pgreplkit.plans.cluster.journal import Journal
from pgreplkit.plans.cluster.topology import SplitBrain, Topology
from pgreplkit.plans.cluster.watch import NodeSample, WatchSample, WatchSamples
from pgreplkit.plans.logical.drift import Drift, SchemaDrift
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.plans.server.readiness import Readiness
from pgreplkit.plans.server.retention import WalRetention
from pgreplkit.values.finding import Finding, Severity, tally
from pgreplkit.values.openenum import OrderedEnum
from pgreplkit.values.record import Record
from pgreplkit.values.text import size_text

Report = (
    Readiness
    | WalRetention
    | Topology
    | NodeSample
    | WatchSample
    | WatchSamples
    | SchemaDrift
    | ArchiveReport
)


class CheckStatus(OrderedEnum):
    """The status of a check, in the words of monitoring plugins; ``max`` returns the worst.

    As the plugins combine them, a known problem is worse than an unknown state.
    """

    OK = "OK"
    UNKNOWN = "UNKNOWN"
    """The check could not be carried out, or had nothing to look at."""
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"

    @property
    def exit_code(self) -> int:
        """The exit status of a plugin: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""
        return _EXIT_CODES[self]


_EXIT_CODES = {
    CheckStatus.OK: 0,
    CheckStatus.WARNING: 1,
    CheckStatus.CRITICAL: 2,
    CheckStatus.UNKNOWN: 3,
}
_OF_SEVERITY = {
    Severity.OK: CheckStatus.OK,
    Severity.INFO: CheckStatus.OK,
    Severity.WARNING: CheckStatus.WARNING,
    Severity.CRITICAL: CheckStatus.CRITICAL,
}
_OF_LAG = {
    LagReason.NOT_STREAMING: (CheckStatus.CRITICAL, "receives no WAL: no walreceiver is streaming"),
    LagReason.PAUSED: (CheckStatus.WARNING, "replay is paused"),
    LagReason.CLOCKS_DIFFER: (CheckStatus.WARNING, "the last commit is later than its clock"),
}
"""The lags that are problems whatever their size. A delay is configured, so it is not one."""


_NOUNS: dict[type, str] = {
    SlotState: "slot",
    SubscriptionStatus: "subscription",
    WalCommit: "commit",
    WalRecord: "record",
}
"""The names of rows, of which a list is checked."""


@attrs.frozen
class Problem:
    """A problem in a report, as one sentence."""

    status: CheckStatus
    text: str


@attrs.frozen
class Figure:
    """A number in a report; None if it is unknown."""

    name: str
    value: float | None
    unit: str
    """The unit of performance data: ``s``, ``B``, or empty for a count."""
    of: str = ""
    """The server that it is about, if the report has several."""


@attrs.frozen
class Judgement:
    """The result of a check of one report."""

    summary: str
    """A line for the report if it has no problem."""
    problems: tuple[Problem, ...]
    figures: tuple[Figure, ...] = ()
    names: tuple[str, ...] = ()
    """The names of the figures that thresholds can limit, the most important first."""


@singledispatch
def judged(report: object) -> Judgement:
    """Return the problems and the figures of a report.

    A report about nothing has an UNKNOWN problem.
    """
    raise TypeError(f"checks take reports and samples, not {type(report).__name__}")


@judged.register
def _(report: Readiness) -> Judgement:
    if not report.findings:
        return _unknown("no requirement was checked")
    count = tally(finding.severity for finding in report.findings)
    return Judgement(f"ready: {count}", tuple(_of_findings(report.findings)))


@judged.register
def _(report: WalRetention) -> Judgement:
    figures = tuple(_retention_figures(report))
    names = ("directory_bytes", "retained_bytes", "time_left_seconds", "ready_files")
    return Judgement(report.summary, tuple(_of_findings(report.findings)), figures, names)


def _retention_figures(report: WalRetention) -> Iterator[Figure]:
    left = [holder.time_left for holder in report.holders if holder.time_left is not None]
    # The disk may be full before a slot is lost.
    left += [report.time_left] if report.time_left is not None else []
    # An idle server never reaches its limit: that is known, and no reason for UNKNOWN.
    safe = [holder.slot.safe_wal_size for holder in report.holders if holder.slot is not None]
    if report.wal_rate == 0 and any(limit is not None for limit in (report.disk_size, *safe)):
        left.append(timedelta.max)
    slots = [holder.bytes for holder in report.holders if holder.slot is not None]
    yield Figure("directory_bytes", report.directory_bytes, "B")
    yield Figure("retained_bytes", max(slots, default=0), "B")
    yield Figure("time_left_seconds", _seconds(min(left, default=None)), "s")
    yield Figure("ready_files", report.ready_count, "")


@judged.register
def _(report: Topology) -> Judgement:
    if not report.nodes:
        return _unknown("the cluster has no servers")
    lines = [line for line in str(report).split("\n") if line]
    figures = [figure for node in report.standbys for figure in _lag_figures(node.name, node.lag)]
    problems = [*_of_topology(report)]
    for node in report.standbys:
        problems += _of_lag(node.name, node.lag)
        problems += _of_slots(node.name, node.slots)
    for node in report.primaries:
        problems += _of_slots(node.name, node.slots)
    standbys = counted(len(report.standbys), "standby")
    summary = lines[0] if len(lines) == 1 else f"{lines[0]}; {standbys}"
    return Judgement(summary, tuple(problems), tuple(figures), ("lag_seconds", "lag_bytes"))


@judged.register
def _(report: NodeSample) -> Judgement:
    # A check that looked at nothing must not be OK.
    if report.error is None and report.is_primary is None:
        return _unknown(f"{report.name} was not asked")
    names = ("lag_seconds", "lag_bytes", "retained_bytes")
    # Of one server, the name would only make the labels of graphs longer.
    figures = [attrs.evolve(figure, of="") for figure in _node_figures(report)]
    return Judgement(str(report), tuple(_of_node(report)), tuple(figures), names)


@judged.register
def _(report: WatchSample) -> Judgement:
    if not report.nodes:
        return _unknown("no server was asked")
    nodes = [*report.nodes.values()]
    problems = [*_of_writers(nodes)]
    problems += [problem for node in nodes for problem in judged(node).problems]
    figures = [figure for node in nodes for figure in _node_figures(node)]
    names = ("lag_seconds", "lag_bytes", "retained_bytes")
    primaries = sum(node.is_primary is True for node in nodes)
    summary = f"{counted(len(nodes), 'server')}, {primaries} of them primary"
    return Judgement(summary, tuple(problems), tuple(figures), names)


@judged.register
def _(report: WatchSamples) -> Judgement:
    # Earlier samples are history: an alert is about the present state.
    return judged(report.samples[-1]) if report.samples else _unknown("there are no samples")


@judged.register(list)
def _(report: list[SlotState] | list[SubscriptionStatus] | list[Record]) -> Judgement:
    if not report:
        return _unknown("there is nothing to check")
    slots = tuple(row for row in report if isinstance(row, SlotState))
    problems = [*_of_slots("", slots)]
    for row in report:
        problems += _of_subscription("", row) if isinstance(row, SubscriptionStatus) else ()
    retained = max((slot.retained_bytes for slot in slots), default=0)
    figures = (Figure("retained_bytes", retained, "B"),) if slots else ()
    names = tuple(figure.name for figure in figures)
    noun = _NOUNS.get(type(report[0]), "row")
    return Judgement(counted(len(report), noun), tuple(problems), figures, names)


@judged.register
def _(report: WalStats) -> Judgement:
    if not report.records:
        return _unknown("there is no WAL record")
    return Judgement(f"{counted(report.records, 'record')}, {size_text(report.bytes)}", ())


@judged.register
def _(report: Journal) -> Judgement:
    count = f"{report.operation}: {len(report.done)} of {counted(len(report.steps), 'step')} done"
    # It may be running at this moment, which the journal does not show.
    problem = Problem(CheckStatus.WARNING, f"{count}; resume it, or undo it")
    return Judgement(count, (problem,) if report.remaining else ())


@judged.register(dict)
def _(report: dict[str, object]) -> Judgement:
    return Judgement(", ".join(f"{name} {value}" for name, value in report.items()), ())


@judged.register
def _(report: SchemaDrift) -> Judgement:
    # schema_drift() refuses to compare no tables, so that no difference means equal tables.
    count = tally(drift.severity for drift in report.drifts)
    summary = f"drift: {count}" if count else "no drift"
    return Judgement(summary, tuple(map(_of_drift, report.drifts)))


@judged.register
def _(report: ArchiveReport) -> Judgement:
    if not report.ranges:
        return _unknown(f"{report.directory} has no usable WAL")
    problems = tuple(_problem(f.severity, f"{f.found}; {f.remedy}") for f in report.findings)
    files = sum(part.files for part in report.ranges)
    figures = (Figure("files", files, ""), Figure("gaps", len(report.gaps), ""))
    last = report.ranges[-1].last
    summary = f"{report.directory} has {counted(files, 'WAL file')} to {last}"
    return Judgement(summary, problems, figures, ("gaps", "files"))


def split_brain(nodes: Mapping[str, NodeSample]) -> tuple[tuple[str, ...], ...]:
    """Return the names of the servers that are primaries of the same cluster, for each cluster."""
    writers: dict[int | None, list[NodeSample]] = {}
    for node in nodes.values():
        if node.is_primary:
            writers.setdefault(node.system_id, []).append(node)
    # A watch may have two names for one server, such as a virtual IP address beside its own.
    return tuple(
        tuple(node.name for node in primaries)
        for primaries in writers.values()
        if len({node.started_at or node.name for node in primaries}) > 1
    )


def status_of(node: NodeSample) -> CheckStatus:
    """Return the status of one server, as a check of its sample reports it."""
    statuses = [problem.status for problem in _of_node(node)]
    return max(statuses, default=CheckStatus.OK)


def _of_writers(nodes: list[NodeSample]) -> Iterator[Problem]:
    for names in split_brain({node.name: node for node in nodes}):
        text = f"split brain: {' and '.join(names)} accept writes for the same cluster"
        yield Problem(CheckStatus.CRITICAL, text)


def _of_node(node: NodeSample) -> Iterator[Problem]:
    if node.error is not None:
        yield Problem(of_error(node.error), f"{node.name}: {node.error}")
        return
    yield from _of_lag(node.name, node.lag)
    # Its findings include the slots, with the limits of the server.
    if node.retention is not None:
        for problem in _of_findings(node.retention.findings):
            yield attrs.evolve(problem, text=f"{node.name}: {problem.text}")
    else:
        yield from _of_slots(node.name, node.slots)
    for subscription in node.subscriptions:
        yield from _of_subscription(node.name, subscription)


def of_error(error: Error) -> CheckStatus:
    """Return the status for an error instead of a report.

    It is CRITICAL if the server is out of reach, or the WAL is damaged. Other errors, such as a
    missing privilege, say nothing about the state.
    """
    is_bad = isinstance(error, ConnectionFailed | WaitTimeout | InvalidWal | SplitBrain)
    return CheckStatus.CRITICAL if is_bad else CheckStatus.UNKNOWN


def _of_lag(name: str, lag: ReplayLag | None) -> Iterator[Problem]:
    status, text = _OF_LAG.get(lag.reason, (None, "")) if lag else (None, "")
    if status is not None:
        yield Problem(status, f"{name}: {text}")


def _of_slots(name: str, slots: tuple[SlotState, ...]) -> Iterator[Problem]:
    for slot in slots:
        about = f"{name}: slot {slot.slot_name}" if name else f"slot {slot.slot_name}"
        if slot.is_lost:
            yield Problem(CheckStatus.CRITICAL, f"{about} is lost")
        elif slot.wal_status is WalStatus.UNRESERVED:
            yield Problem(CheckStatus.CRITICAL, f"{about} loses WAL at the next checkpoint")
        # Only a warning: a client that connects now and then is normal.
        elif not slot.active and slot.retained_bytes:
            retained = size_text(slot.retained_bytes)
            yield Problem(CheckStatus.WARNING, f"{about} is unused, and retains {retained}")


def _of_subscription(name: str, found: SubscriptionStatus) -> Iterator[Problem]:
    about = f"subscription {found.state.subname}"
    about = f"{name}: {about}" if name else about
    if not found.state.subenabled:
        yield Problem(CheckStatus.WARNING, f"{about} is disabled")
    # A disabled subscription was disabled by someone; this one should run.
    elif not found.is_applying:
        yield Problem(CheckStatus.CRITICAL, f"{about} has no apply worker")


def _node_figures(node: NodeSample) -> Iterator[Figure]:
    if node.is_primary is False:
        yield from _lag_figures(node.name, node.lag)
    if node.error is None:
        yield Figure("retained_bytes", node.retained_bytes, "B", node.name)


def _lag_figures(name: str, lag: ReplayLag | None) -> Iterator[Figure]:
    yield Figure("lag_seconds", _seconds(lag.time if lag else None), "s", name)
    yield Figure("lag_bytes", lag.bytes if lag else None, "B", name)


def _of_topology(report: Topology) -> Iterator[Problem]:
    """Yield the problem of each finding; UNKNOWN where a node may be well, but cannot be read."""
    errors = {node.name: of_error(node.error) for node in report.nodes if node.error is not None}
    if CheckStatus.UNKNOWN in errors.values() and not report.primaries:
        errors["primary"] = CheckStatus.UNKNOWN
    for finding, problem in zip(report.findings, _of_findings(report.findings), strict=True):
        yield attrs.evolve(problem, status=errors.get(finding.check, problem.status))


def _of_drift(drift: Drift) -> Problem:
    text = f"{drift.table}: {drift.kind}: {drift.name}: {drift.found}"
    return _problem(drift.severity, "; ".join([text, *drift.ddl]))


def _of_findings(findings: tuple[Finding, ...]) -> Iterator[Problem]:
    for finding in findings:
        remedy = f"; {finding.remedy}" if finding.remedy else ""
        yield _problem(finding.severity, f"{finding.check}: {finding.found}{remedy}")


def _problem(severity: Severity, text: str) -> Problem:
    # A severity of a newer version is at least unknown.
    return Problem(_OF_SEVERITY.get(severity, CheckStatus.UNKNOWN), text)


def _unknown(text: str) -> Judgement:
    return Judgement(text, (Problem(CheckStatus.UNKNOWN, text),))


def _seconds(time: timedelta | None) -> float | None:
    return None if time is None else time.total_seconds()
