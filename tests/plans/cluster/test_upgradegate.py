"""The phase of an upgrade, and the checks before a cutover, a rollback and an end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

import attrs
import pytest
from logicalfacts import slot_state, subscribed
from upgradefacts import following, side

from pgreplkit.catalog.logical.fence import FenceBlocker
from pgreplkit.plans.cluster.upgrade import (
    Names,
    UpgradePhase,
    UpgradeStatus,
    is_ending,
    phase_of,
)
from pgreplkit.plans.cluster.upgradegate import (
    blocking,
    cutover_findings,
    finish_findings,
    planned_finding,
    rollback_findings,
    way_back_findings,
)
from pgreplkit.plans.logical.drift import Drift, DriftKind, SchemaDrift
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.rows import SlotState, TableState
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName


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


@pytest.mark.parametrize(
    ("old", "new", "is_ending", "phase"),
    [
        # The names of others' publications.
        (False, False, False, UpgradePhase.NEW),
        (False, False, True, UpgradePhase.NEW),
        (False, True, False, UpgradePhase.COPYING),
        (False, True, True, UpgradePhase.SWITCHING),
        (True, False, False, UpgradePhase.SWITCHING),
        (True, False, True, UpgradePhase.SWITCHING),
    ],
)
def test_publications_without_subscriptions_are_those_of_an_interrupted_operation(
    old: bool, new: bool, is_ending: bool, phase: UpgradePhase
) -> None:
    found = phase_of(
        [],
        old_is_fenced=old,
        new_is_fenced=new,
        interrupted="",
        is_published=True,
        is_ending=is_ending,
    )
    assert found is phase


@pytest.mark.parametrize(
    ("publications", "is_kept", "wanted"),
    [
        ([], True, False),
        (["shop_1", "shop_2"], False, False),
        (["shop_1", "shop_2"], True, True),
        (["shop_2"], False, True),
        (["shop_1", "shop_1_back"], False, True),
        (["shop_1_back"], False, True),
    ],
    ids=str,
)
def test_publications_that_an_end_has_left_are_distinguished_from_those_of_a_preparation(
    publications: list[str], is_kept: bool, wanted: bool
) -> None:
    assert is_ending(Names(upgrade="shop"), publications, is_kept=is_kept) is wanted


def test_a_fence_that_is_not_removed_is_left_by_an_interrupted_operation() -> None:
    for enabled, old, new in ((True, False, True), (False, True, False)):
        found = phase_of(
            [following(enabled=enabled)],
            old_is_fenced=old,
            new_is_fenced=new,
            interrupted="",
            is_lifting=True,
        )
        assert found is UpgradePhase.SWITCHING


def test_other_servers_than_those_of_the_preparation_look_new() -> None:
    for forward in ([], [following(enabled=False)]):
        found = phase_of(
            forward, old_is_fenced=True, new_is_fenced=False, interrupted="", are_wrong=True
        )
        assert found is UpgradePhase.NEW


@pytest.mark.parametrize(
    ("operation", "phase"),
    [
        ("preparation of shop", UpgradePhase.COPYING),
        ("preparation by clone of shop", UpgradePhase.COPYING),
        ("cutover of shop", UpgradePhase.SWITCHING),
        ("rollback of shop", UpgradePhase.SWITCHING),
        ("end of shop", UpgradePhase.SWITCHING),
    ],
)
def test_an_interrupted_operation_is_the_phase(operation: str, phase: UpgradePhase) -> None:
    found = phase_of([following()], old_is_fenced=False, new_is_fenced=True, interrupted=operation)
    assert found is phase


STATUS = UpgradeStatus(
    name="shop",
    phase=UpgradePhase.PREPARED,
    forward=(attrs.evolve(following(), slot=slot_state()),),
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
    second = attrs.evolve(following(), slot=slot_state(confirmed_flush_lsn=None))
    status = attrs.evolve(STATUS, phase=UpgradePhase.COPYING, forward=(first, second))
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


def test_the_text_of_a_status_names_the_tables_whose_fence_is_disabled() -> None:
    disabled = (TableName("public", "a"), TableName("public", "b"))
    status = attrs.evolve(STATUS, new_is_fenced=False, new_disabled=disabled)
    assert str(status).splitlines()[2] == (
        "  new server: not fenced: the trigger is missing or disabled on public.a, public.b"
    )


@pytest.mark.parametrize("phase", [UpgradePhase.PREPARED, UpgradePhase.CUT_OVER])
def test_the_text_of_a_status_names_lost_slots_with_what_to_do(phase: UpgradePhase) -> None:
    named = attrs.evolve(following().state, subslotname="shop_1_back")
    back = attrs.evolve(following(), state=named)
    # Those of disabled subscriptions are not needed.
    lost = {
        UpgradePhase.PREPARED: attrs.evolve(STATUS, forward=(following(),)),
        UpgradePhase.CUT_OVER: attrs.evolve(CUT_OVER, back=(back,)),
    }[phase]
    lines = " ".join(line.strip() for line in str(lost).splitlines()[1:3])
    if phase is UpgradePhase.PREPARED:
        assert lines.startswith("slot s of the old server is missing or lost: changes are lost;")
    else:
        assert lost.lost_slots == ("shop_1_back",)
        assert lines.startswith("slot shop_1_back of the new server is missing or lost: there is")


def test_the_direction_of_a_lost_slot_does_not_go_by_its_name() -> None:
    forward, back = [
        attrs.evolve(following(), state=attrs.evolve(following().state, subslotname=name))
        for name in ("one_back", "two")
    ]
    status = attrs.evolve(STATUS, forward=(forward,), back=(back,))
    assert status.lost_slots == ("one_back", "two")
    text = " ".join(str(status).split())
    assert "slot one_back of the old server" in text
    assert "slot two of the new server" in text


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


def test_a_cutover_is_refused_before_anything_is_fenced() -> None:
    assert gate() == {}
    assert gate(drift=drift(Severity.WARNING)) == {}
    cases: list[tuple[str, Severity, str, dict[str, Finding]]] = [
        ("phase", Severity.CRITICAL, "cut over", gate(CUT_OVER)),
        ("apply", Severity.CRITICAL, "23505", gate(stuck=["23505"])),
        ("missing subscriptions", Severity.CRITICAL, "shop_2", gate(unsubscribed=["shop_2"])),
        ("schema", Severity.CRITICAL, "ADD x int", gate(drift=drift(Severity.CRITICAL))),
        ("new tables", Severity.CRITICAL, "late", gate(unpublished=[TableName("public", "late")])),
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
) -> list[str]:
    findings = rollback_findings(
        status,
        stuck,
        gone=gone,
        unpublished=unpublished,
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
