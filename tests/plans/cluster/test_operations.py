"""Operations before anything is done: who can follow, who must be rewound."""

from __future__ import annotations

import pytest
from clusterfacts import control_file as stopped, handover
from hypothesis import given, strategies as st

from pgreplkit import (
    LSN,
    ControlState,
    Severity,
    SyncStandbyNames,
    SystemIdentity,
    TimelineHistory,
    TimelineSwitch,
)
from pgreplkit.host.recoveryfiles import pointed_at, with_settings
from pgreplkit.plans.cluster import steps
from pgreplkit.plans.cluster.follow import can_follow, needs_rewind
from pgreplkit.plans.cluster.switchover import Use, failover_steps, switchover_steps
from pgreplkit.testing import strategies as ours

HISTORY = TimelineHistory(2, (TimelineSwitch(1, LSN("0/5000000")),))


def test_nothing_final_is_done_before_the_old_primary_cannot_write() -> None:
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


def test_without_slots_none_are_made() -> None:
    uses = {"db2": Use(None, "app2"), "db3": Use(None, "app3")}
    told = switchover_steps(handover(uses=uses))
    assert not any(isinstance(step, steps.MakeSlots | steps.DropSlots) for step in told)
    [demotion] = [step for step in told if isinstance(step, steps.Demote)]
    assert demotion.slot is None


def test_the_two_change_places_in_the_names_that_commits_wait_for() -> None:
    wanted = SyncStandbyNames.parse("ANY 1 (app2, app3)")
    [setting] = [
        step
        for step in switchover_steps(handover(sync_names=wanted))
        if isinstance(step, steps.SetSyncNames)
    ]
    assert setting.names == 'ANY 1 ("Db-1", app3)'
    assert setting.does.startswith('ALTER SYSTEM SET synchronous_standby_names = \'ANY 1 ("Db-1"')


def test_no_more_are_waited_for_than_there_are() -> None:
    told = handover(sync_names=SyncStandbyNames.parse('FIRST 2 (app2, "Db-1")'))
    assert str(told.swapped_names) == 'FIRST 1 ("Db-1")'
    anyone = handover(sync_names=SyncStandbyNames.parse("ANY 2 (*)"))
    assert str(anyone.swapped_names) == "ANY 2 (*)"


def test_a_failover_does_not_wait_for_the_lost_primary() -> None:
    told = failover_steps(handover(), fenced=True)
    assert told[0] == steps.Fence("Db-1")
    assert not any(step.node == "Db-1" for step in told[1:])
    assert not any(isinstance(s, steps.Fence) for s in failover_steps(handover(), fenced=False))


@given(ours.timeline_histories(), ours.lsns(), st.data())
def test_who_is_on_the_history_can_follow_up_to_where_it_left(
    history: TimelineHistory, lsn: LSN, data: st.DataObject
) -> None:
    timeline = data.draw(st.sampled_from(history.timelines))
    own = SystemIdentity(7, timeline, lsn)
    upstream = SystemIdentity(7, history.timeline, LSN.MAX)
    finding = can_follow(own, upstream, history, upstream_writes=True)
    assert (finding.severity is Severity.OK) == history.can_follow(timeline, lsn)


def test_who_cannot_follow_is_told_why() -> None:
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
def test_who_must_be_rewound(changed: dict[str, object], verdict: bool | None) -> None:
    assert needs_rewind(stopped(**changed), HISTORY) is verdict


def test_settings_are_put_at_the_end_of_a_file_once() -> None:
    text = "# by hand\nport = 1\n  Primary_Conninfo='x'\nprimary_slot_name = 'y'\nprimary = '1'\n"
    changed = with_settings(text, {"primary_conninfo": "it's", "primary_slot_name": None})
    assert changed == "# by hand\nport = 1\nprimary = '1'\nprimary_conninfo = 'it''s'\n"
    assert with_settings(changed, {"primary_conninfo": "it's"}) == changed


def test_a_connection_string_is_led_elsewhere_and_keeps_the_rest() -> None:
    conninfo = "host=a hostaddr=10.0.0.1 port=1 user=rep password='a b' sslmode=require"
    led = pointed_at(conninfo, "postgresql://me@b:2/postgres?sslmode=disable")
    assert led == "user=rep password='a b' sslmode=require host=b port=2"
