"""The phase of an upgrade, and the checks before a cutover, a rollback and an end."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
from logicalfacts import subscribed, subscription_state

from pgreplkit.plans.cluster.upgrade import UpgradePhase, UpgradeStatus, phase_of
from pgreplkit.plans.cluster.upgradegate import (
    cutover_findings,
    finish_findings,
    rollback_findings,
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
        ("long writers", Severity.WARNING, "process 1", gate(writers=["process 1"])),
    ]
    for check, severity, shown, found in cases:
        assert {*found} == {check}
        assert found[check].severity is severity
        assert shown in f"{found[check].found} {found[check].remedy}"


def bad(findings: object) -> list[str]:
    return [one.check for one in findings if one.severity > Severity.OK]  # type: ignore[attr-defined]


def rollback(
    status: UpgradeStatus, stuck: Sequence[str] = (), subscriptions: Sequence[str] = ()
) -> list[str]:
    return bad(rollback_findings(status, stuck, subscriptions=subscriptions))


def test_a_rollback_needs_a_way_back_that_was_never_interrupted() -> None:
    assert rollback(CUT_OVER) == []
    assert rollback(STATUS) == ["phase", "way back"]
    for back in ((), (following(enabled=False),)):
        assert rollback(attrs.evolve(CUT_OVER, back=back)) == ["way back"]
    two = attrs.evolve(CUT_OVER, forward=(following(enabled=False),) * 2)
    assert rollback(two) == ["way back"]
    assert rollback(CUT_OVER, ["stuck"]) == ["apply"]
    assert rollback(CUT_OVER, subscriptions=["feed"]) == ["other subscriptions"]


def test_an_upgrade_ends_after_a_cutover_or_is_given_up_before() -> None:
    assert bad(finish_findings(CUT_OVER, [])) == bad(finish_findings(STATUS, [])) == []
    switching = attrs.evolve(STATUS, phase=UpgradePhase.SWITCHING)
    assert bad(finish_findings(switching, [])) == ["phase"]
    assert bad(finish_findings(CUT_OVER, ["stuck"])) == ["apply"]
