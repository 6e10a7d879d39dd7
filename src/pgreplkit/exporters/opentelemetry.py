"""OpenTelemetry: the samples of a watch as gauges, and plans as spans. Needs only the API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from pgreplkit._async.cluster.plan import AsyncPlan
from pgreplkit._sync.cluster.plan import Plan
from pgreplkit._sync.cluster.watch import Watch
from pgreplkit.errors.extras import needs_extra
from pgreplkit.exporters.latest import LatestSample
from pgreplkit.monitoring.metrics import METRICS, Counters, Metric, MetricKind, Point, points_of
from pgreplkit.plans.cluster.journal import StepProgress
from pgreplkit.plans.cluster.watch import WatchSample

with needs_extra("otel", "opentelemetry"):
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import CallbackOptions, Meter, Observation
    from opentelemetry.trace import Span, StatusCode, Tracer

_SENDERS = {
    "sender_lag_bytes": ("postgresql.replication.data_delay", "By"),
    "sender_lag_seconds": ("postgresql.wal.delay", "s"),
}
"""The names of the OpenTelemetry Collector's receiver for PostgreSQL."""
_ATTRIBUTES = {"application_name": "replication_client", "stage": "operation"}


def observe(watch: Watch, meter: Meter | None = None) -> None:
    """Report the samples of a watch as gauges and counters of OpenTelemetry.

    One collection takes one round of the watch. The lags of receivers have the names of the
    Collector's PostgreSQL receiver, ``postgresql.replication.data_delay`` and
    ``postgresql.wal.delay``; the others have those of ``pgreplkit.metrics``
    after ``pgreplkit.``. By default
    the meter is ``pgreplkit`` of the global provider. Close the watch to end.

    Needs:
        The extra ``otel``.
    """
    latest = _Points(watch)
    meter = meter or metrics.get_meter("pgreplkit")
    for metric in METRICS.values():
        name, unit = _SENDERS.get(metric.name, (f"pgreplkit.{metric.name}", _unit(metric)))
        gauge = metric.kind is MetricKind.GAUGE
        create = meter.create_observable_gauge if gauge else meter.create_observable_counter
        create(name, [latest.callback(metric)], unit=unit, description=metric.about)


@contextmanager
def trace_plan(
    plan: Plan | AsyncPlan, tracer: Tracer | None = None
) -> Iterator[Callable[[StepProgress], None]]:
    """Record a plan as a span, and each of its steps as a span within it.

    Pass the yielded function as ``on_progress``. A step that fails has the status ERROR, and so
    has the plan.

    >>> with trace_plan(plan) as progress:  # doctest: +SKIP
    ...     plan.run(progress)

    Needs:
        The extra ``otel``.
    """
    tracer = tracer or trace.get_tracer("pgreplkit")
    with tracer.start_as_current_span(plan.operation) as whole:
        steps = _Steps(tracer)
        whole.set_attribute("pgreplkit.steps", len(plan.steps))
        try:
            yield steps.report
        except BaseException as error:
            # The span of the plan records the exception itself.
            steps.fail(error)
            raise


class _Steps:
    """The span of the step that is being performed."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._span: Span | None = None

    def report(self, progress: StepProgress) -> None:
        if progress.elapsed is None:
            attributes: dict[str, str | int] = {"pgreplkit.step": progress.number}
            attributes["pgreplkit.node"] = progress.step.node
            self._span = self._tracer.start_span(str(progress.step), attributes=attributes)
        elif self._span is not None:
            self._span.end()
            self._span = None

    def fail(self, error: BaseException) -> None:
        if self._span is not None:
            self._span.record_exception(error)
            self._span.set_status(StatusCode.ERROR, str(error))
            self._span.end()


class _Points:
    """The points of the latest sample, by metric."""

    def __init__(self, watch: Watch) -> None:
        self._latest = LatestSample(watch)
        self._counters = Counters()
        self._sample: WatchSample | None = None
        self._points: list[Point] = []

    def callback(self, metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        names = [_ATTRIBUTES.get(label, label) for label in metric.label_names]

        def observations(_: CallbackOptions) -> Iterable[Observation]:
            for point in self._current():
                if point.metric is metric:
                    yield Observation(point.value, dict(zip(names, point.labels, strict=True)))

        return observations

    def _current(self) -> list[Point]:
        sample = self._latest.get()
        if sample is not self._sample:
            self._sample = sample
            self._points = [] if sample is None else [*self._counters.grown(points_of(sample))]
        return self._points


def _unit(metric: Metric) -> str:
    for ending, unit in (("_bytes", "By"), ("_seconds", "s")):
        if metric.name.endswith(ending):
            return unit
    return "1"
