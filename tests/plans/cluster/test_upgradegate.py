"""The phase of an upgrade, and the checks before a cutover, a rollback and an end."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
from logicalfacts import slot_state, subscribed, subscription_state
from upgradefacts import side

from pgreplkit.plans.cluster.upgrade import UpgradePhase, UpgradeStatus, phase_of
from pgreplkit.plans.cluster.upgradegate import (
    cutover_findings,
    finish_findings,
    phase_finding,
    planned_finding,
    rollback_findings,
    way_back_findings,
)
from pgreplkit.plans.logical.drift import Drift, DriftKind, SchemaDrift
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.rows import TableState
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName


def following(*, enabled: bool = True, copied: bool = True) -> SubscriptionStatus:
    state = TableState.READY if copied else TableState.DATA_COPY
    return SubscriptionStatus(
        state=subscription_state(subenabled=enabled),
        workers=(),
        tables=(subscribed(state=state),),
        stats=None,
        slot=None,
    )


@pytest.mark.parametrize(
    ("forward", "old", "new", "phase"),
    [
        ([], False, True, UpgradePhase.NEW),
        ([], True, False, UpgradePhase.FINISHED),
        ([following(copied=False)], False, True, UpgradePhase.COPYING),
        ([following(), following(copied=False)], False, True, UpgradePhase.COPYING),
        ([following()], False, True, UpgradePhase.PREPARED),
        ([following()], True, True, UpgradePhase.SWITCHING),
        ([following()], False, False, UpgradePhase.SWITCHING),
        ([following(), following(enabled=False)], False, True, UpgradePhase.SWITCHING),
        ([following(enabled=False)], True, True, UpgradePhase.SWITCHING),
        ([following(enabled=False)], True, False, UpgradePhase.CUT_OVER),
        ([following(enabled=False)], False, False, UpgradePhase.SWITCHING),
    ],
)
def test_the_phase_follows_from_the_subscriptions_and_the_fences(
    forward: list[SubscriptionStatus], old: bool, new: bool, phase: UpgradePhase
) -> None:
    assert phase_of(forward, old_is_fenced=old, new_is_fenced=new, interrupted="") is phase


def test_exchanged_servers_look_new_and_not_finished() -> None:
    for follows, phase in ((True, UpgradePhase.NEW), (False, UpgradePhase.FINISHED)):
        found = phase_of(
            [], old_is_fenced=True, new_is_fenced=False, interrupted="", old_follows=follows
        )
        assert found is phase


@pytest.mark.parametrize(
    ("operation", "phase"),
    [
        ("preparation of shop", UpgradePhase.COPYING),
        ("preparation by clone of shop", UpgradePhase.COPYING),
        ("cutover of shop", UpgradePhase.SWITCHING),
        ("rollback of shop", UpgradePhase.SWITCHING),
    ],
)
def test_an_interrupted_operation_is_the_phase(operation: str, phase: UpgradePhase) -> None:
    found = phase_of([following()], old_is_fenced=False, new_is_fenced=True, interrupted=operation)
    assert found is phase


STATUS = UpgradeStatus(
    name="shop",
    phase=UpgradePhase.PREPARED,
    forward=(following(),),
    back=(),
    old_is_fenced=False,
    new_is_fenced=True,
)
CUT_OVER = attrs.evolve(
    STATUS, phase=UpgradePhase.CUT_OVER, forward=(following(enabled=False),), back=(following(),)
)


def test_the_text_of_a_status_has_a_line_for_each_subscription() -> None:
    copying = [
        subscribed(table=TableName("public", f"t{n}"), state=state, bytes_processed=size)
        for n, (state, size) in enumerate(
            [(TableState.DATA_COPY, 3 << 30), *[(TableState.INIT, None)] * 6]
        )
    ]
    first = attrs.evolve(following(), tables=(subscribed(), *copying), slot=slot_state())
    status = attrs.evolve(STATUS, phase=UpgradePhase.COPYING, forward=(first, following()))
    assert str(status).splitlines() == [
        "shop: copying",
        "  old server: not fenced",
        "  new server: fenced",
        "    sub: enabled, not applying, 1 of 8 tables ready, lag 128 B",
        "      public.t0: being copied, 3.0 GiB",
        *[f"      public.t{n}: not started" for n in range(1, 5)],
        "      … and 2 more tables",
        "    sub: enabled, not applying, 1 of 1 table ready",
    ]


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
        "unpublished": (),
        "sequences": (),
        "writers": (),
        "subscriptions": (),
        "stuck": (),
        "writing_triggers": (),
        "truncated": (),
        **changed,
    }
    findings = [*cutover_findings(status, **given)]  # type: ignore[arg-type]
    return {one.check: one for one in findings if one.severity > Severity.OK}


def test_a_cutover_is_refused_before_anything_is_fenced() -> None:
    assert gate() == {}
    assert gate(drift=drift(Severity.WARNING)) == {}
    cases: list[tuple[str, Severity, str, dict[str, Finding]]] = [
        ("phase", Severity.CRITICAL, "cut over", gate(CUT_OVER)),
        ("apply", Severity.CRITICAL, "23505", gate(stuck=["23505"])),
        ("schema", Severity.CRITICAL, "ADD x int", gate(drift=drift(Severity.CRITICAL))),
        ("new tables", Severity.CRITICAL, "late", gate(unpublished=[TableName("public", "late")])),
        ("other subscriptions", Severity.CRITICAL, "feed", gate(subscriptions=["feed"])),
        ("event triggers that write", Severity.CRITICAL, "audit", gate(writing_triggers=["audit"])),
        ("rows after TRUNCATE", Severity.CRITICAL, "public.a", gate(truncated=["public.a"])),
        ("long writers", Severity.WARNING, "process 1", gate(writers=["process 1"])),
    ]
    for check, severity, shown, found in cases:
        assert {*found} == {check}
        assert found[check].severity is severity
        assert shown in f"{found[check].found} {found[check].remedy}"


@pytest.mark.parametrize(
    ("phase", "needed", "remedy"),
    [
        # On other servers nothing has the names of the upgrade.
        (UpgradePhase.NEW, UpgradePhase.PREPARED, "old and new may be exchanged"),
        (UpgradePhase.NEW, UpgradePhase.CUT_OVER, "the servers, databases and the name of the"),
        (UpgradePhase.COPYING, UpgradePhase.PREPARED, "complete the operation that leads there"),
        (UpgradePhase.PREPARED, UpgradePhase.NEW, "with its next operation, or give it up with"),
    ],
)
def test_the_remedy_for_a_wrong_phase_depends_on_what_was_found(
    phase: UpgradePhase, needed: UpgradePhase, remedy: str
) -> None:
    found = phase_finding(attrs.evolve(STATUS, phase=phase), needed)
    assert found.severity is Severity.CRITICAL
    assert remedy in found.remedy
    assert phase_finding(attrs.evolve(STATUS, phase=needed), needed).remedy == ""


def bad(findings: object) -> list[str]:
    return [one.check for one in findings if one.severity > Severity.OK]  # type: ignore[attr-defined]


def rollback(
    status: UpgradeStatus,
    stuck: Sequence[str] = (),
    subscriptions: Sequence[str] = (),
    unpublished: Sequence[TableName] = (),
    writing_triggers: Sequence[str] = (),
    truncated: Sequence[str] = (),
) -> list[str]:
    findings = rollback_findings(
        status,
        stuck,
        unpublished=unpublished,
        subscriptions=subscriptions,
        writing_triggers=writing_triggers,
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
    # Its rows would be on the new server only.
    assert rollback(CUT_OVER, unpublished=[TableName("public", "late")]) == ["new tables"]


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


def test_an_end_that_was_planned_in_another_phase_is_refused() -> None:
    assert bad(finish_findings(STATUS, CUT_OVER.phase, [])) == ["phase"]
    assert bad(finish_findings(CUT_OVER, STATUS.phase, [])) == ["phase"]


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


def test_nothing_is_left_to_do_after_the_end() -> None:
    finished = attrs.evolve(STATUS, phase=UpgradePhase.FINISHED)
    [phase, _] = finish_findings(finished, finished.phase, [])
    assert phase.severity is Severity.CRITICAL
    assert phase.remedy is not None
    assert "nothing is left to do" in phase.remedy
