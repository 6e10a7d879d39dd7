"""Displays for notebooks: what each shows, colours, and sizes."""

from __future__ import annotations

import re
from datetime import timedelta

import attrs
import pytest
from clusterfacts import handover
from htmlchecks import words_of
from instances import HOSTILE, Builder
from logicalfacts import slot_state
from serverfacts import NOW, sender

from pgreplkit import LSN, TableName
from pgreplkit._hooks import html_of
from pgreplkit.catalog.server.lag import LagReason, ReplayLag
from pgreplkit.display.markup import AMBER, BLUE, GREEN, GREY, PALETTE, RED, tag, text
from pgreplkit.display.table import severity_badge
from pgreplkit.errors import Error
from pgreplkit.offline.archive import ArchiveFinding, ArchiveReport
from pgreplkit.offline.windows import PitrWindow
from pgreplkit.plans.cluster.journal import Journal, StepResult
from pgreplkit.plans.cluster.switchover import switchover_steps
from pgreplkit.plans.cluster.topology import ClusterNode, Topology
from pgreplkit.plans.cluster.watch import NodeSample, WatchSample, WatchSamples
from pgreplkit.plans.logical.compare import CompareProgress, DiffKind, RowDiff
from pgreplkit.plans.logical.drift import Drift, DriftKind, SchemaDrift
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.plans.mesh.status import MeshSetup
from pgreplkit.plans.server.readiness import Readiness
from pgreplkit.plans.server.retention import HolderKind, WalHolder, WalRetention
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.rows import Rows

T = TableName("public", "t")


def luminance(shade: str) -> float:
    """The relative luminance of WCAG."""
    parts = (int(shade[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(share * p for share, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("background", ["#ffffff", "#111111", "#1e1e1e"])
@pytest.mark.parametrize("shade", sorted({GREEN, BLUE, AMBER, RED, GREY, *PALETTE}))
def test_colours_are_readable_in_light_and_dark_notebooks(shade: str, background: str) -> None:
    low, high = sorted([luminance(shade), luminance(background)])
    assert (high + 0.05) / (low + 0.05) > 3.5


def test_text_and_attributes_are_escaped() -> None:
    element = tag("b", HOSTILE, "\0\ud800", title='"><script>')
    assert "<script" not in element
    assert words_of(element).startswith("<script>alert('x')</script>")
    assert text(text("<")) == "&lt;"


UNKNOWN: ReplayLag = Builder("empty").build(ReplayLag)


def lag(count: int | None, reason: LagReason = LagReason.REPLAYING) -> ReplayLag:
    return attrs.evolve(UNKNOWN, bytes=count, reason=reason)


def node(name: str, upstream: str | None = None, **changed: object) -> ClusterNode:
    facts: dict[str, object] = {"system_id": 7, "timeline": 1, "lsn": LSN(1 << 24)}
    facts |= {"is_primary": upstream is None, "upstream": upstream}
    return ClusterNode(name=name, **facts | changed)  # type: ignore[arg-type]


def test_the_topology_is_a_tree_with_every_node_once() -> None:
    topology = Topology(
        (
            node("db1"),
            node("db2", "db1", lag=lag(5 << 20)),
            node("db3", "db2", lag=lag(0, LagReason.CAUGHT_UP)),
            node("db4", error=Error("could not connect")),
            node("db5", system_id=8),
        )
    )
    html = html_of(topology)
    words = words_of(html)
    for name in ("db1", "db2", "db3", "db4", "db5"):
        assert html.count(f"<b>{name}</b>") == 1
    assert re.search(r"<b>db2</b>.*<ul[^>]*><li[^>]*><div[^>]*><b>db3</b>", html)
    assert "db2 standby timeline 1 0/1000000 replaying 5.0 MiB behind" in words
    assert "db4 down could not connect" in words
    assert "db5 primary timeline 1 0/1000000 other system identifier" in words


def test_standbys_in_a_circle_are_drawn_once() -> None:
    html = html_of(Topology((node("a", "b"), node("b", "a"))))
    assert (html.count("<b>a</b>"), html.count("<b>b</b>")) == (1, 1)


def test_readiness_shows_the_worst_finding_first() -> None:
    findings = [
        Finding(check="a", severity=Severity.OK, found="on", needed="on"),
        Finding(check="b", severity=Severity.CRITICAL, found="off", needed="on", remedy="SET b"),
    ]
    words = words_of(html_of(Readiness(findings=tuple(findings))))
    assert words.startswith("not ready")
    assert words.index("critical b off on SET b") < words.index("ok a on on")


def holder(name: str, size: int) -> WalHolder:
    empty: WalHolder = Builder("empty").build(WalHolder)
    return attrs.evolve(empty, kind=HolderKind.SLOT, name=name, bytes=size)


def test_retention_has_a_bar_for_each_holder_and_the_limit_as_a_line() -> None:
    report = attrs.evolve(
        Builder("empty").build(WalRetention),
        holders=(holder("big", 3 << 30), holder("small", 1 << 30)),
        max_slot_wal_keep_size=4 << 30,
    )
    html = html_of(report)
    assert [*re.findall(r"width:([\d.]+)%", html)] == ["75.0", "25.0"]
    assert html.count("left:100.0%") == 2
    assert "slot big 3.0 GiB" in words_of(html)


def journal(done: int) -> Journal:
    steps = switchover_steps(handover())
    results = tuple(
        StepResult(
            step=step,
            began_at=NOW + timedelta(seconds=number),
            ended_at=NOW + timedelta(seconds=number + 1),
        )
        for number, step in enumerate(steps[:done])
    )
    return Journal(operation="switchover to db2", steps=tuple(steps), done=results)


def test_a_plan_shows_its_progress_and_the_servers_that_accept_writes() -> None:
    begun = journal(2)
    html = html_of(begun)
    words = words_of(html)
    assert (html.count(">done<"), html.count(">next<")) == (2, 1)
    assert "cannot be undone" in words
    assert f"writes: {begun.state}" in words
    for step in begun.steps:
        assert step.description in words


def test_a_result_shows_the_time_of_each_step_as_a_bar() -> None:
    count = len(journal(0).steps)
    html = html_of(journal(count).result)
    bars = [float(share) for share in re.findall(r"margin-left:([\d.]+)%", html)]
    assert bars == sorted(bars)
    assert len(bars) == count
    assert bars[-1] == pytest.approx(100 - 100 / count, abs=0.1)


def round_at(second: float, **lags: ReplayLag | Error | None) -> WatchSample:
    nodes = {
        name: NodeSample(name=name, error=value)
        if isinstance(value, Error)
        else NodeSample(name=name, is_primary=value is None, lag=value)
        for name, value in lags.items()
    }
    return WatchSample(taken_at=NOW + timedelta(seconds=second), nodes=nodes)


def test_samples_are_a_chart_with_gaps_where_a_server_did_not_answer() -> None:
    lags: list[ReplayLag | Error] = [lag(0), lag(1 << 20), Error("down"), lag(2 << 20), lag(0)]
    samples = WatchSamples(
        tuple(round_at(second, db1=None, db2=value) for second, value in enumerate(lags))
    )
    html = html_of(samples)
    lines = re.findall(r'<polyline points="([^"]*)"', html)
    assert [len(line.split()) for line in lines] == [2, 2]
    assert html.count(f'fill="{RED}"') == 1
    assert "2.0 MiB" in words_of(html)


def test_many_samples_stay_small_and_keep_their_peaks() -> None:
    rounds = [round_at(second, db=lag(second % 7)) for second in range(10_000)]
    rounds[5_000] = round_at(5_000, db=lag(1 << 30))
    html = html_of(WatchSamples(tuple(rounds)))
    assert len(html) < 100_000
    # The scale ends at the highest value.
    assert "1.0 GiB" in words_of(html)


@pytest.mark.parametrize("count", [0, 1])
def test_few_samples_are_shown_too(count: int) -> None:
    samples = WatchSamples(tuple(round_at(second, db=lag(3)) for second in range(count)))
    assert words_of(html_of(samples))


def test_drift_shows_the_ddl() -> None:
    drift = Drift(
        kind=DriftKind.COLUMN_MISSING,
        table=T,
        name="x",
        severity=Severity.CRITICAL,
        found="the subscriber does not have it",
        ddl=("ALTER TABLE public.t ADD COLUMN x int",),
    )
    assert "public.t column missing x" in words_of(html_of(SchemaDrift(drifts=(drift,))))
    assert "ADD COLUMN x int" in words_of(html_of(SchemaDrift(drifts=(drift,))))
    assert words_of(html_of(SchemaDrift(drifts=()))) == "no drift"


def test_a_comparison_shows_the_values_that_differ() -> None:
    diff = RowDiff(
        table=T,
        kind=DiffKind.DIFFERENT,
        key={"id": "1"},
        publisher={"id": "1", "name": "a", "same": "s"},
        subscriber={"id": "1", "name": None, "same": "s"},
    )
    progress = CompareProgress(
        table=T,
        rows=5,
        rows_done=50,
        rows_estimated=100,
        tables_done=0,
        tables=1,
        diffs=(diff,),
    )
    html = html_of(progress)
    assert "width:50.0%" in html
    assert "id=1 different name a name NULL" in words_of(html)
    assert "same" not in words_of(html)


def test_a_list_is_a_table_whose_columns_people_look_for_come_first() -> None:
    words = words_of(Rows([sender("replica1"), sender(HOSTILE)])._repr_html_())
    assert words.startswith("2 × WalSender application name")
    assert "0/3000100" in words
    assert words_of(Rows([slot_state()])._repr_html_()).startswith("1 × SlotState slot name")
    assert words_of(Rows[object]()._repr_html_()) == "no rows"


def test_a_window_of_restore_begins_with_its_ends() -> None:
    window = Builder("full").build(PitrWindow)
    head = ["backup_id", "is_restorable", "from_lsn", "to_lsn", "until"]
    assert str(Rows([window])).split()[:5] == head
    words = " ".join(head).replace("_", " ")
    assert words_of(Rows([window])._repr_html_()).startswith(f"1 × PitrWindow {words}")


def test_a_severity_is_a_badge_in_every_table() -> None:
    finding = attrs.evolve(Builder("full").build(ArchiveFinding), severity=Severity.CRITICAL)
    report = attrs.evolve(Builder("full").build(ArchiveReport), findings=(finding,))
    marked = severity_badge(Severity.CRITICAL)
    # Once as the worst of all, and once in the table of findings.
    assert report._repr_html_().count(marked) == 2
    assert marked in Rows([finding])._repr_html_()


def test_a_long_list_is_cut_and_counted() -> None:
    words = words_of(Rows([sender(str(number)) for number in range(250)])._repr_html_())
    assert words.endswith("… and 150 more")


def test_a_large_row_within_a_report_is_a_table_of_its_own() -> None:
    status = Builder("full").build(SubscriptionStatus)
    html = html_of(status)
    assert re.search(r">state</span><table[^>]*><tbody><tr><td[^>]*>oid</td>", html)
    assert "nowrap" in html.partition("oid</td>")[0].rpartition("<td")[2]


def test_statements_are_lines_and_not_a_sentence() -> None:
    grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON public.orders, public.items TO mover"
    html = html_of(MeshSetup(nodes={"berlin": (grant, grant), "paris": (grant,)}))
    assert f"<div>{grant}</div><div>{grant}</div>" in html
    assert html.count("<table") == 2
