"""Switchover: its steps and synchronous_standby_names, from facts about the servers."""

from __future__ import annotations

import pytest
from clusterfacts import handover
from hypothesis import given, strategies as st

from pgreplkit import SyncStandbyNames
from pgreplkit.plans.cluster import steps
from pgreplkit.plans.cluster.handover import UpstreamSettings
from pgreplkit.plans.cluster.switchover import switchover_steps


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
    uses = {"db2": UpstreamSettings(None, "app2"), "db3": UpstreamSettings(None, "app3")}
    planned = switchover_steps(handover(upstream_settings=uses))
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
    planned = handover(
        sync_names=SyncStandbyNames.parse(before),
        upstream_settings={
            "db2": UpstreamSettings("two", two),
            "db3": UpstreamSettings("three", three),
        },
        old_name=comes,
    )
    parsed = SyncStandbyNames.parse(after)
    assert {*planned.swapped_names.names} == {*parsed.names}
    assert (planned.swapped_names.count, planned.swapped_names.method) == (
        parsed.count,
        parsed.method,
    )


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", "B"]), min_size=1, max_size=4),
    st.integers(1, 3),
    st.sampled_from(["b", "c"]),
)
def test_names_that_were_met_are_met_after_the_two_changed_places(
    listed: list[str], count: int, third: str
) -> None:
    before = SyncStandbyNames(tuple(listed), count)
    planned = handover(
        sync_names=before,
        upstream_settings={
            "db2": UpstreamSettings(None, "b"),
            "db3": UpstreamSettings(None, third),
        },
        old_name="a",
    )
    if before.met_by(["b", third]):
        assert planned.swapped_names.met_by(["a", third])


def test_commits_wait_for_no_more_standbys_than_exist() -> None:
    planned = handover(sync_names=SyncStandbyNames.parse('FIRST 2 (app2, "Db-1")'))
    assert str(planned.swapped_names) == 'FIRST 1 ("Db-1")'
    anyone = handover(sync_names=SyncStandbyNames.parse("ANY 2 (*)"))
    assert str(anyone.swapped_names) == "ANY 2 (*)"
