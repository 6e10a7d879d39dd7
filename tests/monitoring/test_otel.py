"""OpenTelemetry: names of gauges, and the spans of a plan."""

from __future__ import annotations

from typing import cast

import attrs
import pytest
from clusterfacts import handover
from monitoringfacts import primary, retention, sample, standby
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from pgreplkit import Plan, Watch
from pgreplkit.errors import ControlFailed, PlanFailed
from pgreplkit.exporters.latest import LatestSample
from pgreplkit.otel import observe, trace_plan
from pgreplkit.plans.cluster.journal import Journal, LostPrimary
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.cluster.switchover import switchover_steps
from pgreplkit.rows import Finding, LagReason, Severity, WatchSample

STEPS = tuple(switchover_steps(handover()))


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> WatchSample:
    """A sample that every watch returns."""
    found = sample(primary(retention=retention(failing=True)), standby("db2", LagReason.PAUSED))
    monkeypatch.setattr(LatestSample, "get", lambda self: found)
    return found


def test_samples_are_gauges_with_the_names_of_the_collector_for_receivers(
    fixed: WatchSample,
) -> None:
    reader = InMemoryMetricReader()
    with Watch(["host=unused"]) as watch:
        observe(watch, MeterProvider([reader]).get_meter("test"))
        data = reader.get_metrics_data()
    assert data is not None
    [scope] = data.resource_metrics[0].scope_metrics
    points = {
        metric.name: [cast(NumberDataPoint, point) for point in metric.data.data_points]
        for metric in scope.metrics
    }
    units = {metric.name: metric.unit for metric in scope.metrics}
    assert units["postgresql.replication.data_delay"] == "By"
    assert units["postgresql.wal.delay"] == "s"
    replay = next(
        p
        for p in points["postgresql.replication.data_delay"]
        if p.attributes and p.attributes["operation"] == "replay"
    )
    assert replay.attributes == {
        "server": "db1",
        "replication_client": "db2",
        "kind": "standby",
        "operation": "replay",
    }
    states = points["pgreplkit.replay_state"]
    assert [p.attributes and p.attributes["state"] for p in states if p.value] == ["paused"]
    # Exporters write True and False otherwise.
    assert {type(p.value) for p in states} == {int}
    assert [point.value for point in points["pgreplkit.archiver_failed"]] == [4]


@attrs.frozen
class Actor:
    """Performs nothing, and fails at one step."""

    failing: Step | None

    def perform(self, step: Step) -> None:
        if step is self.failing:
            raise ControlFailed("start the host", "it is down")

    def take_back(self, step: Step) -> None:
        """Undo nothing."""

    def missing_evidence(self, lost: LostPrimary) -> str:
        return ""


class Checks:
    """One finding, without which a plan is not run."""

    def findings(self) -> list[Finding]:
        return [Finding(check="wal_level", severity=Severity.OK, found="logical", needed="replica")]


def spans_of(failing: Step | None) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    journal = Journal(operation="switchover", steps=STEPS[:2])
    plan = Plan(Actor(failing), journal, Checks(), None)
    try:
        with trace_plan(plan, provider.get_tracer("test")) as progress:
            plan.run(progress)
    except PlanFailed:
        assert failing is not None
    return [*exporter.get_finished_spans()]


def test_a_plan_is_a_span_with_a_span_for_each_step() -> None:
    *steps, plan = spans_of(failing=None)
    assert plan.name == "switchover"
    assert [step.name for step in steps] == [str(step) for step in STEPS[:2]]
    assert all(step.parent and step.parent.span_id == plan.context.span_id for step in steps)
    assert all(span.status.status_code is StatusCode.UNSET for span in (*steps, plan))


def test_the_failed_step_and_its_plan_have_the_status_error() -> None:
    first, second, plan = spans_of(failing=STEPS[1])
    codes = [span.status.status_code for span in (first, second, plan)]
    assert codes == [StatusCode.UNSET, StatusCode.ERROR, StatusCode.ERROR]
    assert [event.name for event in second.events] == ["exception"]
