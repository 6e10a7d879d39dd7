"""Metrics: names, states, counters that never fall, and the format of Prometheus."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
import yaml  # type: ignore[import-untyped]
from clusterfacts import NOW, slot_state
from hypothesis import example, given, strategies as st
from instances import HOSTILE, Builder
from monitoringfacts import down, primary, retention, sample, standby, unused_slot
from prometheus_client.parser import text_string_to_metric_families
from serverfacts import sender

from pgreplkit import LSN, Watch
from pgreplkit.checks import CheckResult
from pgreplkit.errors import ConnectionFailed
from pgreplkit.exporters.latest import LatestSample
from pgreplkit.exporters.prometheus import Collector, _families
from pgreplkit.monitoring.metrics import METRICS, Counters, MetricKind, Point, points_of
from pgreplkit.rows import (
    InvalidationReason,
    LagReason,
    NodeSample,
    SubscriptionStatus,
    WalStatus,
    WatchSample,
)

DOCS = Path(__file__).parents[2] / "docs" / "monitoring"
GONE = ConnectionFailed("read the state of db2", "connection refused")
SUBSCRIPTION: SubscriptionStatus = Builder("full").build(SubscriptionStatus)


def values(of: WatchSample, name: str) -> dict[tuple[str, ...], float]:
    return {point.labels: point.value for point in points_of(of) if point.metric.name == name}


def exposed(of: WatchSample) -> str:
    """The text that Prometheus scrapes."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector as BaseCollector

    class Fixed(BaseCollector):
        def collect(self) -> list[object]:  # type: ignore[override]
            return [*_families(points_of(of))]

    registry = CollectorRegistry()
    registry.register(Fixed())
    return generate_latest(registry).decode()


@pytest.mark.parametrize(
    ("node", "state", "lag"),
    [
        (standby("db2", LagReason.NOT_STREAMING, None, None), "not streaming", None),
        (standby("db2", LagReason.PAUSED, 4096, 9), "paused", 4096),
        (standby("db2", LagReason.DELAYED, 4096, 3600), "delayed", 4096),
        (standby("db2", LagReason.CAUGHT_UP), "caught up", 0),
    ],
)
def test_a_dead_receiver_a_pause_a_delay_and_an_idle_primary_differ(
    node: NodeSample, state: str, lag: int | None
) -> None:
    found = sample(primary(), node)
    states = values(found, "replay_state")
    assert [labels for labels, value in states.items() if value == 1] == [("db2", state)]
    assert len(states) == len(LagReason)
    # An unknown lag is absent: 0 would say that all is well.
    assert values(found, "replay_lag_bytes") == ({} if lag is None else {("db2",): lag})


def shown(of: WatchSample) -> dict[str, float]:
    """The points as text, without the states that do not apply."""
    points = [p for p in points_of(of) if p.value or "state" not in p.metric.name]
    return {f"{p.metric.name} {' '.join(p.labels)}": p.value for p in points}


def test_a_primary_has_the_values_of_its_receivers_and_slots() -> None:
    late = sender("r", write_lag=timedelta(seconds=2), write_lsn=LSN("0/3000000"))
    used = slot_state(
        "used", active=True, active_pid=101, wal_status=WalStatus.EXTENDED, safe_wal_size=99
    )
    rows = InvalidationReason.ROWS_REMOVED
    gone = slot_state("gone", wal_status=WalStatus.RESERVED, invalidation_reason=rows)
    node = primary("p", slots=(used, gone), senders=(late, sender("l", pid=101)))
    caught_up = [
        *("r standby flush", "r standby replay"),
        *("l logical write", "l logical flush", "l logical replay"),
    ]
    assert shown(sample(node)) == {
        "up p": 1,
        "check_status p": 2,
        "split_brain 7": 0,
        "info p primary 7 1": 1,
        "wal_bytes p": 0x4000000,
        "senders p": 2,
        "sender_lag_bytes p r standby sent": 0,
        "sender_lag_bytes p r standby write": 0x100,
        "sender_lag_seconds p r standby write": 2,
        "sender_lag_bytes p l logical sent": 0,
        **{f"sender_lag_bytes p {labels}": 0 for labels in caught_up},
        **{f"sender_lag_seconds p {labels}": 0 for labels in caught_up},
        "slot_active p used logical": 1,
        "slot_retained_bytes p used logical": 0x2000000,
        "slot_safe_bytes p used logical": 99,
        "slot_lag_bytes p used logical": 0x1000000,
        "slot_state p used logical extended": 1,
        "slot_active p gone logical": 0,
        "slot_retained_bytes p gone logical": 0,
        "slot_lag_bytes p gone logical": 0x1000000,
        "slot_state p gone logical lost": 1,
    }


def test_a_standby_has_its_lag_and_its_state() -> None:
    assert shown(sample(standby("s", LagReason.REPLAYING, 5, 1.5))) == {
        "up s": 1,
        "check_status s": 0,
        "split_brain 7": 0,
        "info s standby 7 1": 1,
        "wal_bytes s": 0x4000000,
        "replay_state s replaying": 1,
        "replay_lag_bytes s": 5,
        "replay_lag_seconds s": 1.5,
        "senders s": 0,
    }


def test_the_retention_of_a_primary_has_the_values_of_its_report() -> None:
    found = shown(sample(primary("p", retention=retention(unused_slot(), failing=True))))
    assert {name: value for name, value in found.items() if name.startswith(("wal_", "arch"))} == {
        "wal_bytes p": 0x4000000,
        "wal_directory_bytes p": 0x4000000,
        "wal_retained_bytes p slot": 0x2000000,
        "wal_retained_bytes p archiver": 0x1000000,
        "wal_retained_bytes p checkpoint": 0x1000000,
        "wal_retained_bytes p wal_keep": 0,
        "archiver_failing p": 1,
        "archiver_failed p": 4,
        "archiver_archived p": 1,
        "archiver_ready_files p": 1,
    }


def test_a_closed_watch_has_no_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    with Watch(["host=unused"]) as watch:
        collector = Collector(watch)
        assert {family.name for family in collector.describe()} == {
            f"pgreplkit_{name}" for name in METRICS
        }
        monkeypatch.setattr(LatestSample, "get", lambda self: sample(primary()))
        assert next(iter(collector.collect())).name == "pgreplkit_up"
        monkeypatch.undo()
    assert [*collector.collect()] == []


def test_a_server_that_is_down_has_nothing_but_that() -> None:
    found = sample(primary(), down("db2", GONE))
    assert values(found, "up") == {("db1",): 1, ("db2",): 0}
    assert {p.metric.name for p in points_of(found) if p.labels[0] == "db2"} == {
        *("up", "check_status")
    }


@pytest.mark.parametrize(
    "node",
    [
        primary(),
        primary(retention=retention(failing=True)),
        primary(retention=retention(unused_slot())),
        primary(slots=(slot_state("s", wal_status=WalStatus.LOST),)),
        standby("db1", LagReason.NOT_STREAMING, None, None),
        standby("db1", LagReason.PAUSED, 1, 1),
        down("db1", GONE),
    ],
)
def test_the_status_is_that_of_a_check(node: NodeSample) -> None:
    code = CheckResult.of(node).exit_code
    assert values(sample(node), "check_status") == {("db1",): code}


def test_a_split_brain_is_seen_with_its_servers() -> None:
    found = sample(primary("db1"), primary("db2"), primary("db3", system_id=8))
    assert values(found, "split_brain") == {("7",): 1, ("8",): 0}
    assert values(found, "check_status") == {("db1",): 2, ("db2",): 2, ("db3",): 0}


def test_two_names_for_one_primary_are_no_split_brain() -> None:
    first = primary("db1", started_at=NOW)
    found = sample(first, attrs.evolve(first, name="vip"))
    assert values(found, "split_brain") == {("7",): 0}
    assert values(found, "check_status") == {("db1",): 0, ("vip",): 0}
    second = primary("db2", started_at=NOW + timedelta(microseconds=1))
    found = sample(first, attrs.evolve(first, name="vip"), second)
    assert values(found, "split_brain") == {("7",): 1}
    assert values(found, "check_status") == {("db1",): 2, ("vip",): 2, ("db2",): 2}


def test_archiver_slots_and_subscriptions_have_metrics() -> None:
    slot = unused_slot()
    node = primary(
        retention=retention(slot, failing=True), slots=(slot,), subscriptions=(SUBSCRIPTION,)
    )
    found = sample(node)
    assert values(found, "archiver_failing") == {("db1",): 1}
    assert values(found, "archiver_failed") == {("db1",): 4}
    assert values(found, "archiver_ready_files") == {("db1",): 1}
    assert values(found, "slot_active") == {("db1", "old", "logical"): 0}
    assert values(found, "slot_retained_bytes") == {("db1", "old", "logical"): 32 << 20}
    assert values(found, "subscription_enabled")
    assert values(found, "subscription_conflicts")
    assert {p.metric.name for p in points_of(found)} | {
        *("replay_lag_bytes", "replay_lag_seconds", "replay_state", "slot_safe_bytes"),
        *("slot_state", "wal_time_left_seconds", "archiver_last_age_seconds"),
    } >= METRICS.keys() - {"archiver_archived"}


def test_receivers_of_the_same_name_are_one_series_with_the_highest_lag() -> None:
    near, far = sender("r"), sender("r", pid=101, replay_lsn=LSN("0/3000000"))
    found = values(sample(primary(senders=(near, far))), "sender_lag_bytes")
    assert found["db1", "r", "standby", "replay"] == 0x100
    kinds = primary(senders=(sender("w", replay_lsn=None), sender("b", state="backup")))
    labels = values(sample(kinds), "sender_lag_bytes")
    assert {label[2] for label in labels} == {"streamer", "backup"}


@given(st.text(max_size=20))
@example(HOSTILE)
@example('a"b\\c\nd\ud800')
def test_hostile_names_survive_the_format_of_prometheus(name: str) -> None:
    text = exposed(sample(primary(name, senders=(sender(name),))))
    families = [*text_string_to_metric_families(text)]
    senders = [s for family in families for s in family.samples if "application_name" in s.labels]
    expected = name.encode("utf-8", "replace").decode()
    assert {s.labels["application_name"] for s in senders} == {expected}
    assert {s.labels["server"] for s in senders} == {expected}


def test_the_families_have_the_types_and_suffixes_of_prometheus() -> None:
    text = exposed(
        sample(primary(retention=retention(failing=True)), standby("db2", LagReason.PAUSED))
    )
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for name, family in families.items():
        metric = METRICS[name.removeprefix("pgreplkit_")]
        assert family.type == ("gauge" if metric.kind is MetricKind.GAUGE else "counter")
        assert family.documentation == metric.about
    assert "pgreplkit_archiver_failed_total{" in text


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=12),
    st.sampled_from(["wal_bytes", "archiver_failed"]),
)
def test_counters_never_fall(series: list[int], name: str) -> None:
    counters = Counters()
    grown = [
        point.value
        for value in series
        for point in counters.grown([Point(METRICS[name], ("db1",), value)])
    ]
    assert grown == sorted(grown)
    if name == "wal_bytes":
        assert grown[-1] == max(series)
    else:
        rises = [
            max(0, now - last) if now >= last else now
            for last, now in zip([0, *series], series, strict=False)
        ]
        assert grown[-1] == sum(rises)


def test_the_position_of_another_system_counts_from_its_start() -> None:
    counters = Counters()
    grown = []
    for system, lsn in [(7, 900), (7, 400), (None, 500), (8, 100), (8, 150), (8, 120)]:
        node = primary(system_id=system, lsn=LSN(lsn))
        points = counters.grown(points_of(sample(node, standby("db2", LagReason.CAUGHT_UP))))
        grown += [p.value for p in points if (p.metric.name, p.labels) == ("wal_bytes", ("db1",))]
    assert grown == [900, 900, 900, 1000, 1050, 1050]


EXPORTED = {
    f"pgreplkit_{name}{'' if metric.kind is MetricKind.GAUGE else '_total'}": metric
    for name, metric in METRICS.items()
}
WORDS = {
    *[
        "abs",
        "and",
        "avg",
        "by",
        "changes",
        "max",
        "min",
        "on",
        "or",
        "rate",
        "sum",
        "increase",
        "time",
        "unless",
        "without",
    ]
}
"""Functions, operators and modifiers of PromQL that the rules and the dashboard use."""
TOKEN = re.compile(
    r"""\s*(?:(?P<word>[a-z_]+)|\{(?P<labels>[^}]*)\}|\[(?:\d+[smhd]|\$__rate_interval)\]
    |\d+[a-z]?|(?P<mark>[()])|[-+*/<>=!,]+)""",
    re.VERBOSE,
)


def check_promql(text: str) -> None:
    """Check the tokens, the parentheses, and the names of metrics and labels."""
    position, depth, metric = 0, 0, None
    named = [EXPORTED[name] for name in re.findall(r"pgreplkit_\w+", text)]
    labels = {label for metric in named for label in metric.label_names}
    while position < len(text.rstrip()):
        token = TOKEN.match(text, position)
        assert token, text[position:]
        position = token.end()
        depth += {"(": 1, ")": -1}.get(token["mark"] or "", 0)
        assert depth >= 0
        if token["word"] and token["word"].startswith("pgreplkit_"):
            metric = EXPORTED[token["word"]]
        elif token["word"]:
            assert token["word"] in WORDS | labels, token["word"]
        for matcher in filter(None, (token["labels"] or "").split(",")):
            label = re.fullmatch(r'\s*(\w+)(=|!=|=~|!~)"[^"]*"\s*', matcher)
            assert label, matcher
            assert metric is not None
            assert label[1] in metric.label_names
    assert depth == 0


def test_the_alert_rules_use_metrics_and_labels_that_exist() -> None:
    content = yaml.safe_load((DOCS / "alert-rules.yml").read_text())
    [group] = content["groups"]
    assert len(group["rules"]) == 8
    assert len({rule["alert"] for rule in group["rules"]}) == 8
    for rule in group["rules"]:
        assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert re.fullmatch(r"\d+[sm]", rule["for"])
        assert rule["annotations"].keys() == {"summary", "description"}
        check_promql(rule["expr"])


def test_the_dashboard_uses_metrics_and_labels_that_exist() -> None:
    dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(targets) >= 8
    for target in targets:
        check_promql(target["expr"])


@pytest.mark.parametrize("text", ["pgreplkit_lag", "(pgreplkit_up", 'pgreplkit_up{pid="1"}'])
def test_the_check_of_rules_refuses_other_names(text: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        check_promql(text)


def test_a_gauge_may_fall() -> None:
    counters, metric = Counters(), METRICS["replay_lag_bytes"]
    assert [next(counters.grown([Point(metric, ("a",), v)])).value for v in (5, 1)] == [5, 1]
