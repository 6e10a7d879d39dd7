"""Operations before anything is done: steps, who can follow, who must be rewound, journals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given, strategies as st
from packaging.version import Version

from pgreplkit import (
    LSN,
    ClusterNode,
    ControlFile,
    ControlState,
    Promotion,
    Severity,
    StepProgress,
    StepResult,
    SyncStandbyNames,
    SystemIdentity,
    TimelineHistory,
    TimelineSwitch,
    Topology,
)
from pgreplkit.host.recoveryfiles import address_of, pointed_at, with_settings
from pgreplkit.plans.cluster import steps
from pgreplkit.plans.cluster.follow import can_follow, needs_rewind
from pgreplkit.plans.cluster.journal import Journal, Lost
from pgreplkit.plans.cluster.steps import Step, step_from
from pgreplkit.plans.cluster.switchover import Handover, Use, failover_steps, switchover_steps
from pgreplkit.testing import strategies as ours

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HISTORY = TimelineHistory(2, (TimelineSwitch(1, LSN("0/5000000")),))
names = st.text(min_size=1, max_size=8)
some_names = st.lists(names).map(tuple)
promotions = st.builds(
    Promotion, old_timeline=ours.timelines(), new_timeline=ours.timelines(), switchpoint=ours.lsns()
)
OTHERS = {"slots": st.lists(names, min_size=1), "major": st.integers(10, 18)}
every_step: st.SearchStrategy[Step] = st.one_of(
    *(
        st.builds(
            kind,
            **{field.name: OTHERS.get(field.name, names) for field in attrs.fields(kind)},
        )
        for kind in dict.fromkeys(kind for kind in vars(steps).values() if isinstance(kind, type))
        if issubclass(kind, Step) and kind is not Step
    )
)


def handover(**changed: object) -> Handover:
    old = ClusterNode(name="Db-1", is_primary=True, system_id=7, timeline=1)
    new, third = (
        ClusterNode(
            name=name,
            version=Version("16.4"),
            is_primary=False,
            system_id=7,
            timeline=1,
            upstream="Db-1",
        )
        for name in ("db2", "db3")
    )
    told: dict[str, object] = {
        "topology": Topology((old, new, third)),
        "old": old,
        "new": new,
        "followers": (third,),
        "uses": {"db2": Use("two", "app2"), "db3": Use("three", "app3")},
        "old_name": "Db-1",
        "address": "host=db2",
        "sync_names": SyncStandbyNames(),
        "new_sync_names": SyncStandbyNames(),
    }
    return Handover(**told | changed)  # type: ignore[arg-type]


def stopped(**changed: object) -> ControlFile:
    told: dict[str, object] = {
        "system_id": 7,
        "state": ControlState.SHUT_DOWN,
        "checkpoint_lsn": LSN("0/4000000"),
        "timeline": 1,
        "min_recovery_lsn": LSN.INVALID,
        "min_recovery_timeline": 0,
        "wal_log_hints": True,
        "data_checksums": False,
    }
    return ControlFile(**told | changed)  # type: ignore[arg-type]


def test_no_final_step_precedes_the_end_of_writes_on_the_old_primary() -> None:
    told = switchover_steps(handover())
    kinds = [type(step).__name__ for step in told]
    assert kinds == [
        *("MakeSlots", "Checkpoint", "StopPrimary", "WaitForWal", "Demote", "Promote"),
        *("Follow", "StartStandby"),
    ]
    final = next(number for number, step in enumerate(told) if step.is_final)
    assert all(
        step.undo
        for step in told[:final]
        if kinds[told.index(step)]
        not in {
            "Checkpoint",
            "WaitForWal",
        }
    )
    assert told[0] == steps.MakeSlots("db2", ("three", "db_1"))


def test_a_plan_without_slots_creates_none() -> None:
    uses = {"db2": Use(None, "app2"), "db3": Use(None, "app3")}
    told = switchover_steps(handover(uses=uses))
    assert not any(isinstance(step, steps.MakeSlots | steps.DropSlots) for step in told)
    [demotion] = [step for step in told if isinstance(step, steps.Demote)]
    assert demotion.slot is None


def test_a_switchover_swaps_the_two_servers_in_synchronous_standby_names() -> None:
    wanted = SyncStandbyNames.parse("ANY 1 (app2, app3)")
    [setting] = [
        step
        for step in switchover_steps(handover(sync_names=wanted))
        if isinstance(step, steps.SetSyncNames)
    ]
    assert setting.names == 'ANY 1 ("Db-1", app3)'
    assert setting.does.startswith('ALTER SYSTEM SET synchronous_standby_names = \'ANY 1 ("Db-1"')


@pytest.mark.parametrize(
    ("before", "two", "three", "comes", "after"),
    [
        ("FIRST 1 (lyon)", "lyon", "nice", "paris", "FIRST 1 (paris)"),
        ("FIRST 1 (LYON, nice)", "Lyon", "nice", "Paris", 'FIRST 1 ("Paris", nice)'),
        ('ANY 2 ("15/main")', "15/main", "15/main", "15/main", 'ANY 2 ("15/main")'),
        ('ANY 1 ("15/main")', "15/main", "15/main", "db1", 'ANY 1 ("15/main", db1)'),
        ("FIRST 1 (walreceiver)", "walreceiver", "nice", "db1", "FIRST 1 (db1)"),
        ("FIRST 1 (paris, lyon)", "lyon", "nice", "paris", "FIRST 1 (paris)"),
        ('FIRST 1 ("it""s")', 'it"s', "nice", 'that"s', 'FIRST 1 ("that""s")'),
        ("FIRST 2 (lyon, nice)", "lyon", "nice", "paris", "FIRST 2 (paris, nice)"),
        ("FIRST 2 (lyon, gone)", "lyon", "nice", "paris", "FIRST 2 (paris, gone)"),
    ],
)
def test_commits_wait_for_the_effective_names(
    before: str, two: str, three: str, comes: str, after: str
) -> None:
    told = handover(
        sync_names=SyncStandbyNames.parse(before),
        uses={"db2": Use("two", two), "db3": Use("three", three)},
        old_name=comes,
    )
    parsed = SyncStandbyNames.parse(after)
    assert {*told.swapped_names.names} == {*parsed.names}
    assert (told.swapped_names.count, told.swapped_names.method) == (parsed.count, parsed.method)


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", "B"]), min_size=1, max_size=4),
    st.integers(1, 3),
    st.sampled_from(["b", "c"]),
)
def test_names_that_were_met_are_met_after_the_two_changed_places(
    listed: list[str], count: int, third: str
) -> None:
    before = SyncStandbyNames(tuple(listed), count)
    told = handover(
        sync_names=before, uses={"db2": Use(None, "b"), "db3": Use(None, third)}, old_name="a"
    )
    if before.met_by(["b", third]):
        assert told.swapped_names.met_by(["a", third])


def test_commits_never_wait_for_more_standbys_than_exist() -> None:
    told = handover(sync_names=SyncStandbyNames.parse('FIRST 2 (app2, "Db-1")'))
    assert str(told.swapped_names) == 'FIRST 1 ("Db-1")'
    anyone = handover(sync_names=SyncStandbyNames.parse("ANY 2 (*)"))
    assert str(anyone.swapped_names) == "ANY 2 (*)"


def test_after_a_failover_commits_do_not_wait_for_the_lost_primary() -> None:
    told = failover_steps(handover(), fenced=True)
    assert told[0] == steps.Fence("Db-1")
    assert not any(step.node == "Db-1" for step in told[1:])
    assert not any(isinstance(s, steps.Fence) for s in failover_steps(handover(), fenced=False))


@pytest.mark.parametrize(
    ("of", "moved", "demoted", "promoted"),
    [
        (11, "into recovery.conf; control.restart(", "into recovery.conf", "control.promote("),
        (12, "= 'three'; control.restart(", "write standby.signal", "SELECT pg_promote()"),
        (13, "= 'three'; SELECT pg_reload_conf()", "postgresql.auto.conf", "SELECT pg_promote()"),
    ],
)
def test_steps_describe_the_action_of_their_major_version(
    of: int, moved: str, demoted: str, promoted: str
) -> None:
    assert moved in steps.Follow("a", "b", "host=b", "three", "a", of).does
    assert demoted in steps.Demote("a", "b", "host=b", None, "a", of).does
    assert steps.Promote("b", of).does.startswith(promoted)


@given(every_step)
def test_a_step_survives_a_round_trip_through_its_dict(step: Step) -> None:
    assert step_from(step.to_dict()) == step
    assert step.what
    assert step.does
    assert str(step) == f"{step.node}: {step.what}"


@given(st.lists(every_step), st.none() | promotions, st.data())
def test_a_journal_survives_a_round_trip_through_its_file(
    told: list[Step], promotion: Promotion | None, data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, len(told)))
    done = tuple(StepResult(step=step, began_at=NOW, ended_at=NOW) for step in told[:count])
    lost = data.draw(
        st.none() | st.builds(Lost, primary=names, proofs=some_names, standbys=some_names)
    )
    journal = Journal(operation="o", steps=tuple(told), done=done, promotion=promotion, lost=lost)
    again = Journal.from_json(journal.to_json())
    assert again == journal
    assert (*(result.step for result in again.done), *again.remaining) == journal.steps


def test_a_journal_knows_the_writable_server_at_each_step() -> None:
    def told(plan: tuple[Step, ...]) -> list[str]:
        done = [StepResult(step=step, began_at=NOW, ended_at=NOW) for step in plan]
        journals = [
            Journal(operation="o", steps=plan, done=tuple(done[:count]))
            for count in range(len(plan))
        ]
        return [journal.state for journal in journals]

    nobody = "nobody can write: Db-1 is shut down, and db2 is a standby"
    assert told(switchover_steps(handover())) == [
        *["Db-1 writes, as before"] * 2,
        "Db-1 may be down already; if not, it writes",
        *[nobody] * 2,
        "db2 may write already; if not, nobody can",
        *["db2 writes"] * 2,
    ]
    assert told(failover_steps(handover(), fenced=True)) == [
        *["nobody can write, as when the primary was lost"] * 3,
        "db2 may write already; if not, nobody can",
        "db2 writes",
    ]
    assert told((steps.Rewind("a", "b", "host=b"),)) == ["who can write is not changed by it"]


def test_a_result_reports_the_write_outage() -> None:
    told = switchover_steps(handover())
    seconds = [NOW + timedelta(seconds=number) for number in range(len(told) + 1)]
    done = tuple(
        StepResult(step=step, began_at=seconds[number], ended_at=seconds[number + 1])
        for number, step in enumerate(told)
    )
    result = Journal(operation="o", steps=told, done=done).result
    assert result.elapsed == timedelta(seconds=len(told))
    assert result.write_outage == timedelta(seconds=4)
    assert Journal(operation="o", steps=told).result.write_outage is None
    assert Journal(operation="o", steps=told).result.elapsed == timedelta(0)
    assert "lost" not in str(result)
    known = attrs.evolve(result, lost_bytes=0)
    assert str(known).endswith(
        "  0 bytes of WAL are known to be lost, and with them whatever no standby was told of"
    )
    progress = StepProgress(step=told[0], number=1, count=8, elapsed=None)
    assert str(progress) == f"1/8 {told[0]} …"


@given(ours.timeline_histories(), ours.lsns(), st.data())
def test_a_server_on_the_history_can_follow_up_to_the_switchpoint(
    history: TimelineHistory, lsn: LSN, data: st.DataObject
) -> None:
    timeline = data.draw(st.sampled_from(history.timelines))
    own = SystemIdentity(7, timeline, lsn)
    upstream = SystemIdentity(7, history.timeline, LSN.MAX)
    finding = can_follow(own, upstream, history, upstream_writes=True)
    assert (finding.severity is Severity.OK) == history.can_follow(timeline, lsn)


def test_a_server_that_cannot_follow_gets_the_reason() -> None:
    upstream = SystemIdentity(7, 2, LSN("0/6000000"))

    def found(own: SystemIdentity, history: TimelineHistory | None = HISTORY) -> str:
        finding = can_follow(own, upstream, history, upstream_writes=True)
        assert finding.severity is Severity.CRITICAL
        assert finding.remedy
        return finding.found

    assert "of system 8" in found(SystemIdentity(8, 2, LSN("0/1")))
    assert "left at 0/5000000" in found(SystemIdentity(7, 1, LSN("0/5000001")))
    assert "none of the upstream's: 1, 2" in found(SystemIdentity(7, 3, LSN("0/1")))
    assert "both are on timeline 2" in found(SystemIdentity(7, 2, LSN("0/6000001")))
    assert "cannot be read" in found(SystemIdentity(7, 1, LSN("0/1")), None)
    behind = SystemIdentity(7, 2, LSN("0/7000000"))
    standby = can_follow(behind, upstream, HISTORY, upstream_writes=False)
    assert standby.severity is Severity.OK


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, False),
        ({"checkpoint_lsn": LSN("0/5000000")}, True),
        ({"checkpoint_lsn": LSN("0/4FFFFFF")}, False),
        ({"timeline": 3}, True),
        ({"timeline": 2, "checkpoint_lsn": LSN("0/9000000")}, False),
        ({"state": ControlState.IN_PRODUCTION}, None),
        ({"state": ControlState.IN_PRODUCTION, "checkpoint_lsn": LSN("0/5000000")}, True),
        ({"state": ControlState.SHUT_DOWN_IN_RECOVERY}, False),
        (
            {
                "state": ControlState.SHUT_DOWN_IN_RECOVERY,
                "min_recovery_lsn": LSN("0/6000000"),
                "min_recovery_timeline": 1,
            },
            True,
        ),
    ],
)
def test_a_server_with_wal_past_the_switchpoint_needs_pg_rewind(
    changed: dict[str, object], verdict: bool | None
) -> None:
    assert needs_rewind(stopped(**changed), HISTORY) is verdict


def test_settings_are_appended_to_a_file_once() -> None:
    text = "# by hand\nport = 1\n  Primary_Conninfo='x'\nprimary_slot_name = 'y'\nprimary = '1'\n"
    changed = with_settings(text, {"primary_conninfo": "it's", "primary_slot_name": None})
    assert changed == "# by hand\nport = 1\nprimary = '1'\nprimary_conninfo = 'it''s'\n"
    assert with_settings(changed, {"primary_conninfo": "it's"}) == changed


def test_a_redirected_connection_string_keeps_its_other_parameters() -> None:
    conninfo = "host=a hostaddr=10.0.0.1 port=1 user=rep password='a b' sslmode=require"
    there = address_of("postgresql://me@b:2/postgres?sslmode=disable")
    led = pointed_at(f"{conninfo} target_session_attrs=primary sslnegotiation=direct", there)
    expected = "user=rep password='a b' sslmode=require sslnegotiation=direct host=b port=2"
    assert led == expected
