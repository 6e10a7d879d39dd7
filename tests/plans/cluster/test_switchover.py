"""Switchover: its steps and synchronous_standby_names, from facts about the servers."""

from __future__ import annotations

from clusterfacts import handover

from pgreplkit import SyncStandbyNames
from pgreplkit.plans.cluster import steps
from pgreplkit.plans.cluster.switchover import Use, switchover_steps


def test_a_switchover_promotes_only_after_the_old_primary_is_a_standby() -> None:
    planned = switchover_steps(handover())
    kinds = [type(step).__name__ for step in planned]
    assert kinds == [
        *("MakeSlots", "Checkpoint", "StopPrimary", "WaitForWal", "Demote", "Promote"),
        *("Follow", "StartStandby"),
    ]
    final = next(number for number, step in enumerate(planned) if step.is_final)
    assert all(
        step.undo
        for step in planned[:final]
        if kinds[planned.index(step)]
        not in {
            "Checkpoint",
            "WaitForWal",
        }
    )
    assert planned[0] == steps.MakeSlots("db2", ("three", "db_1"))


def test_a_switchover_without_slots_creates_none() -> None:
    uses = {"db2": Use(None, "app2"), "db3": Use(None, "app3")}
    planned = switchover_steps(handover(uses=uses))
    assert not any(isinstance(step, steps.MakeSlots | steps.DropSlots) for step in planned)
    [demotion] = [step for step in planned if isinstance(step, steps.Demote)]
    assert demotion.slot is None


def test_the_old_primary_replaces_the_new_one_in_synchronous_standby_names() -> None:
    wanted = SyncStandbyNames.parse("ANY 1 (app2, app3)")
    [setting] = [
        step
        for step in switchover_steps(handover(sync_names=wanted))
        if isinstance(step, steps.SetSyncNames)
    ]
    assert setting.names == 'ANY 1 ("Db-1", app3)'
    assert setting.does.startswith('ALTER SYSTEM SET synchronous_standby_names = \'ANY 1 ("Db-1"')


def test_commits_wait_for_no_more_standbys_than_exist() -> None:
    planned = handover(sync_names=SyncStandbyNames.parse('FIRST 2 (app2, "Db-1")'))
    assert str(planned.swapped_names) == 'FIRST 1 ("Db-1")'
    anyone = handover(sync_names=SyncStandbyNames.parse("ANY 2 (*)"))
    assert str(anyone.swapped_names) == "ANY 2 (*)"
