"""The checks before a cutover, a rollback and an end of an upgrade."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType

import attrs
import pytest
from logicalfacts import slot_state
from upgradefacts import CUT_OVER, STATUS, following, side

from pgreplkit.catalog.logical.fence import FenceBlocker
from pgreplkit.plans.cluster.upgradegate import (
    blocking,
    cutover_findings,
    finish_findings,
    planned_finding,
    rollback_findings,
    unsubscribed_tables,
    views_finding,
    way_back_findings,
)
from pgreplkit.plans.cluster.upgradestatus import UpgradePhase, UpgradeStatus
from pgreplkit.plans.logical.drift import Drift, DriftKind, SchemaDrift
from pgreplkit.rows import SlotState
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName


def drift(severity: Severity) -> SchemaDrift:
    one = Drift(
        kind=DriftKind.COLUMN_MISSING,
        table=TableName("public", "a"),
        name="x",
        severity=severity,
        found="missing",
        ddl=("ALTER TABLE public.a ADD x int",),
    )
    return SchemaDrift(drifts=(one,))


def gate(status: UpgradeStatus = STATUS, **changed: object) -> dict[str, Finding]:
    given: dict[str, object] = {
        "drift": SchemaDrift(drifts=()),
        "unsubscribed": (),
        "unpublished": (),
        "unrefreshed": {},
        "nonempty": (),
        "sequences": (),
        "writers": (),
        "subscriptions": (),
        "stuck": (),
        "writing_triggers": (),
        "unfenced_roles": (),
        "truncated": (),
        **changed,
    }
    findings = [*cutover_findings(status, **given)]  # type: ignore[arg-type]
    return {one.check: one for one in findings if one.severity > Severity.OK}


def test_views_that_only_the_old_server_has_filled_have_the_statements_in_order() -> None:
    assert views_finding([]).severity is Severity.OK
    found = views_finding([TableName("public", name) for name in ("sums", "a")])
    assert (found.severity, found.remedy) == (
        Severity.WARNING,
        "REFRESH MATERIALIZED VIEW public.sums; REFRESH MATERIALIZED VIEW public.a",
    )


def test_the_statements_for_new_tables_have_quoted_names_and_add_no_children() -> None:
    status = attrs.evolve(STATUS, name="18")
    late = [TableName("public", "late"), TableName("public", "Order")]
    added = gate(status, unpublished=late)["new tables"].remedy
    assert added is not None
    assert 'ALTER PUBLICATION "18_1" ADD TABLE ONLY public.late, ONLY public."Order" on' in added
    refreshed = gate(status, unrefreshed={"18_1": late})["tables without a subscription"].remedy
    statement = 'ALTER SUBSCRIPTION "18_1" REFRESH PUBLICATION on the new server'
    assert refreshed == statement
    # The copy would collide with these rows, or repeat them.
    filled = gate(status, unrefreshed={"18_1": late}, nonempty=late[:1])
    assert filled["tables without a subscription"].remedy == (
        "SET session_replication_role = replica; DELETE FROM ONLY public.late;"
        f" RESET session_replication_role on the new server; then {statement}"
    )


def test_a_table_that_was_removed_from_a_publication_is_copied_again() -> None:
    removed, late = following().tables[0].table, TableName("public", "late")
    remedy = gate(STATUS, unpublished=[removed, late])["new tables"].remedy
    first, _, rest = remedy.partition("; then ")
    assert first == "ALTER SUBSCRIPTION sub REFRESH PUBLICATION on the new server"
    assert f"DELETE FROM ONLY {removed};" in rest
    assert f"ALTER PUBLICATION sub ADD TABLE ONLY {removed} on the old server" in rest
    assert "ADD TABLE ONLY public.late on the old one" in rest


def test_a_cutover_is_refused_before_anything_is_fenced() -> None:
    assert gate() == {}
    assert gate(drift=drift(Severity.WARNING)) == {}
    cases: list[tuple[str, Severity, str, dict[str, Finding]]] = [
        ("phase", Severity.CRITICAL, "cut over", gate(CUT_OVER)),
        ("apply", Severity.CRITICAL, "23505", gate(stuck=["23505"])),
        ("missing subscriptions", Severity.CRITICAL, "shop_2", gate(unsubscribed=["shop_2"])),
        ("schema", Severity.CRITICAL, "ADD x int", gate(drift=drift(Severity.CRITICAL))),
        ("new tables", Severity.CRITICAL, "late", gate(unpublished=[TableName("public", "late")])),
        (
            "tables without a subscription",
            Severity.CRITICAL,
            "ALTER SUBSCRIPTION shop_1 REFRESH PUBLICATION on the new server",
            gate(unrefreshed={"shop_1": [TableName("public", "late")]}),
        ),
        ("other subscriptions", Severity.CRITICAL, "feed", gate(subscriptions=["feed"])),
        ("event triggers that write", Severity.CRITICAL, "audit", gate(writing_triggers=["audit"])),
        ("rows after TRUNCATE", Severity.CRITICAL, "public.a", gate(truncated=["public.a"])),
        ("long writers", Severity.WARNING, "process 1", gate(writers=["process 1"])),
        (
            "fence",
            Severity.CRITICAL,
            "new.fence_writes(['public.a'], name='shop_fence')",
            gate(attrs.evolve(STATUS, new_disabled=(TableName("public", "a"),))),
        ),
        (
            "session_replication_role",
            Severity.CRITICAL,
            "ALTER ROLE ALL RESET session_replication_role",
            gate(unfenced_roles=["ALTER ROLE ALL RESET session_replication_role"]),
        ),
    ]
    for check, severity, shown, found in cases:
        assert {*found} == {check}
        assert found[check].severity is severity
        assert shown in f"{found[check].found} {found[check].remedy}"


def test_a_published_table_that_its_subscription_lacks_is_found() -> None:
    one = following()
    [has], name = [str(table.table) for table in one.tables], one.state.subname
    assert unsubscribed_tables({name: [has]}, [one]) == {}
    assert unsubscribed_tables({name: [has, "public.late"], "other": ["public.b"]}, [one]) == {
        name: [TableName("public", "late")]
    }


def bad(findings: object) -> list[str]:
    return [one.check for one in findings if one.severity > Severity.OK]  # type: ignore[attr-defined]


def rollback(
    status: UpgradeStatus,
    stuck: Sequence[str] = (),
    subscriptions: Sequence[str] = (),
    unpublished: Sequence[TableName] = (),
    writing_triggers: Sequence[str] = (),
    unfenced_roles: Sequence[str] = (),
    truncated: Sequence[str] = (),
    gone: Sequence[TableName] = (),
    unrefreshed: Mapping[str, Sequence[TableName]] = MappingProxyType({}),
) -> list[str]:
    findings = rollback_findings(
        status,
        stuck,
        gone=gone,
        unpublished=unpublished,
        unrefreshed=unrefreshed,
        nonempty=(),
        subscriptions=subscriptions,
        writing_triggers=writing_triggers,
        unfenced_roles=unfenced_roles,
        truncated=truncated,
    )
    return bad(findings)


def test_a_rollback_needs_a_way_back_that_was_never_interrupted() -> None:
    assert rollback(CUT_OVER) == []
    assert rollback(STATUS) == ["phase", "way back"]
    # The last one is that of a table which was added after the cutover, and is being copied.
    for back in ((), (following(enabled=False),), (following(copied=False),)):
        assert rollback(attrs.evolve(CUT_OVER, back=back)) == ["way back"]
    two = attrs.evolve(CUT_OVER, forward=(following(enabled=False),) * 2)
    assert rollback(two) == ["way back"]
    assert rollback(CUT_OVER, ["stuck"]) == ["apply"]
    assert rollback(CUT_OVER, subscriptions=["feed"]) == ["other subscriptions"]
    assert rollback(CUT_OVER, writing_triggers=["audit"]) == ["event triggers that write"]
    assert rollback(CUT_OVER, truncated=["public.a"]) == ["rows after TRUNCATE"]
    assert rollback(CUT_OVER, unfenced_roles=["ALTER ROLE a"]) == ["session_replication_role"]
    disabled = (TableName("public", "a"),)
    assert rollback(attrs.evolve(CUT_OVER, old_disabled=disabled)) == ["fence"]
    # It accepts the writes now.
    assert rollback(attrs.evolve(CUT_OVER, new_disabled=disabled)) == []
    assert rollback(CUT_OVER, gone=[TableName("public", "a")]) == ["missing tables"]
    # Its rows would be on the new server only.
    late = [TableName("public", "late")]
    assert rollback(CUT_OVER, unpublished=late) == ["new tables"]
    unrefreshed = {"shop_1_back": late}
    assert rollback(CUT_OVER, unrefreshed=unrefreshed) == ["tables without a subscription"]


@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        ({}, {}, None),
        ({}, {"settings": {"wal_level": "replica"}}, "new: wal_level"),
        ({"connection_error": "no pg_hba.conf entry"}, {}, "old reaches new"),
        ({}, {"settings": {"max_replication_slots": 1}}, "new: max_replication_slots"),
        ({}, {"settings": {"max_wal_senders": 1}}, "new: max_wal_senders"),
        (
            {"settings": {"max_logical_replication_workers": 1}},
            {},
            "old: max_logical_replication_workers",
        ),
        ({"settings": {"max_worker_processes": 1}}, {}, "old: max_worker_processes"),
    ],
    ids=str,
)
def test_what_the_way_back_needs_is_checked_again_before_a_cutover(
    old: dict[str, object], new: dict[str, object], check: str | None
) -> None:
    found = bad(way_back_findings(side(14, 1, old), side(18, 2, new), 2))
    assert found == ([check] if check else [])


def test_an_upgrade_ends_after_a_cutover_or_is_given_up_before() -> None:
    for status in (CUT_OVER, STATUS):
        assert bad(finish_findings(status, status.phase, [])) == []
    switching = attrs.evolve(STATUS, phase=UpgradePhase.SWITCHING)
    assert bad(finish_findings(switching, switching.phase, [])) == ["phase"]
    assert bad(finish_findings(CUT_OVER, CUT_OVER.phase, ["stuck"])) == ["apply"]


@pytest.mark.parametrize("slot", [None, slot_state(wal_status="lost")], ids=["missing", "lost"])
def test_a_lost_slot_has_a_remedy_of_its_own(slot: SlotState | None) -> None:
    def remedy(findings: Iterable[Finding]) -> str | None:
        [found] = [one for one in findings if one.severity > Severity.OK]
        assert found.check == "apply"
        return found.remedy

    lost = attrs.evolve(following(), slot=slot)
    whole = attrs.evolve(following(), slot=slot_state())
    for one, has_way in ((lost, False), (whole, True)):
        after = attrs.evolve(CUT_OVER, back=(one,))
        before = attrs.evolve(STATUS, forward=(whole, one))
        remedies = {
            "plan_finish(), and prepare": remedy(gate(before, stuck=["stuck"]).values()),
            "run(force=True)": remedy(finish_findings(after, after.phase, ["stuck"])),
        }
        for hint, found in remedies.items():
            assert ("diagnose()" in (found or ""), hint in (found or "")) == (has_way, not has_way)


@pytest.mark.parametrize(
    "found",
    [{"s_1": ["t"]}, {"s_1": ["u", "t"], "s_2": []}, {"s_1": ["t", "u", "v"]}, {}],
    ids=str,
)
def test_a_plan_is_refused_if_publications_were_altered_since(found: dict[str, list[str]]) -> None:
    planned = {"s_1": ["t", "u"]}
    assert bad([planned_finding(planned, found)]) == ["plan"]
    assert bad([planned_finding(found, planned)]) == ["plan"]
    assert bad([planned_finding(planned, {"s_1": ["u", "t"]})]) == []


def test_only_transactions_that_delay_a_fence_are_shown_each_of_them_once() -> None:
    def blocker(table: str, pid: int | None, age: timedelta | None) -> FenceBlocker:
        return FenceBlocker(
            table=TableName("public", table),
            pid=pid,
            backend_type="client backend",
            application_name="app",
            age=age,
        )

    old, short = timedelta(seconds=5), timedelta(seconds=0.9)
    blockers = [blocker("a", 1, old), blocker("a", 2, short), blocker("b", 1, old)]
    shown = "process 1 (app, 5.0 s old) on public.a and 1 other table"
    assert blocking(blockers) == [shown]
    assert blocking([blocker("a", None, None)]) == ["prepared transaction (app) on public.a"]
