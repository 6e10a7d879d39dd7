"""Switchover: its steps, synchronous_standby_names, and findings, from facts about the servers."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from clusterfacts import NOW, handover, replay_status, slot_state
from hypothesis import given, strategies as st
from serverfacts import archiver, sender

from pgreplkit import LSN, SyncStandbyNames
from pgreplkit.errors import ConnectionFailed, ServerError
from pgreplkit.plans.cluster import steps
from pgreplkit.plans.cluster.handover import UpstreamSettings
from pgreplkit.plans.cluster.switchover import (
    SwitchoverFacts,
    switchover_findings,
    switchover_nodes,
    switchover_steps,
)
from pgreplkit.rows import (
    ClusterNode,
    PauseState,
    Readiness,
    Severity,
    SlotType,
    Topology,
    Upstream,
)

OLD, NEW, _ = handover().topology.nodes


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
    assert setting.action.startswith('ALTER SYSTEM SET synchronous_standby_names = \'ANY 1 ("Db-1"')


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
    if before.is_met_by(["b", third]):
        assert planned.swapped_names.is_met_by(["a", third])


def test_commits_wait_for_no_more_standbys_than_exist() -> None:
    planned = handover(sync_names=SyncStandbyNames.parse('FIRST 2 (app2, "Db-1")'))
    assert str(planned.swapped_names) == 'FIRST 1 ("Db-1")'
    anyone = handover(sync_names=SyncStandbyNames.parse("ANY 2 (*)"))
    assert str(anyone.swapped_names) == "ANY 2 (*)"


SENDERS = (sender("app2"), sender("app3"))
FACTS = SwitchoverFacts(
    handover=handover(old=attrs.evolve(OLD, senders=SENDERS)),
    max_lag=1000,
    status=replay_status(),
    readiness=Readiness(findings=()),
    archiver=archiver(),
    ready_files=0,
    in_exclusive_backup=False,
    controlled={"Db-1": 7},
)


def problems(facts: SwitchoverFacts) -> dict[str, Severity]:
    return {f.check: f.severity for f in switchover_findings(facts) if f.severity != Severity.OK}


def changed_handover(**changed: object) -> SwitchoverFacts:
    return attrs.evolve(FACTS, handover=attrs.evolve(FACTS.handover, **changed))  # type: ignore[arg-type]


def test_a_switchover_that_can_be_done_has_no_problem() -> None:
    assert problems(FACTS) == {}


@pytest.mark.parametrize(
    ("changed", "check"),
    [
        ({"status": replay_status(receiver_status=None)}, "streaming"),
        ({"max_lag": -1}, "lag"),
        ({"status": replay_status(latest_end_lsn=LSN("0/5000000"))}, "lag"),
        ({"status": replay_status(pause_state=PauseState.PAUSED)}, "replay"),
        ({"status": replay_status(apply_delay=timedelta(seconds=1))}, "apply delay"),
        ({"in_exclusive_backup": True}, "base backups"),
        ({"ready_files": 17}, "archiving"),
        ({"archiver": archiver(last_failed_time=NOW + timedelta(1))}, "archiving"),
        ({"controlled": {}}, "control of Db-1"),
        ({"controlled": {"Db-1": 8}}, "control of Db-1"),
    ],
)
def test_each_obstacle_to_a_switchover_is_critical(changed: dict[str, object], check: str) -> None:
    found = problems(attrs.evolve(FACTS, **changed))  # type: ignore[arg-type]
    assert found[check] is Severity.CRITICAL


def test_a_base_backup_on_either_server_is_critical() -> None:
    backup = sender("app2", state="backup")
    assert problems(changed_handover(old=attrs.evolve(OLD, senders=(backup,))))["base backups"]
    assert problems(changed_handover(new=attrs.evolve(NEW, senders=(backup,))))["base backups"]


def test_a_candidate_that_follows_another_standby_is_critical() -> None:
    found = problems(changed_handover(new=attrs.evolve(NEW, upstream="db3")))
    assert found == {"upstream": Severity.CRITICAL}


def test_receivers_slots_and_nodes_that_are_not_moved_are_warnings() -> None:
    slot = slot_state("archive", slot_type=SlotType.PHYSICAL)
    old = attrs.evolve(OLD, senders=(*SENDERS, sender("pg_receivewal")), slots=(slot,))
    down = ClusterNode(name="db4", error=ConnectionFailed("connect", "refused"))
    stray = attrs.evolve(
        NEW,
        name="db5",
        upstream=None,
        receives_from=Upstream(host="x", port=1, user="r", application_name="e", slot_name=None),
    )
    topology = Topology((*FACTS.handover.topology.nodes, down, stray))
    assert problems(changed_handover(old=old, topology=topology)) == dict.fromkeys(
        ("other slots", "receivers", "other upstreams", "nodes that are down"), Severity.WARNING
    )


def test_commits_that_would_wait_on_the_new_primary_are_critical() -> None:
    names = SyncStandbyNames.parse("FIRST 2 (app2, elsewhere)")
    found = problems(changed_handover(sync_names=names))
    assert found == {"synchronous_standby_names": Severity.CRITICAL}


def test_the_nodes_of_a_switchover_are_the_primary_and_a_standby() -> None:
    topology = FACTS.handover.topology
    assert switchover_nodes(topology, "db2") == (OLD, NEW)
    with pytest.raises(ServerError, match="could not switch over to Db-1: the node is not"):
        switchover_nodes(topology, "Db-1")
    with pytest.raises(KeyError):
        switchover_nodes(topology, "typo")
    with pytest.raises(ServerError, match=r"no primary answers; use plan_failover\(\)"):
        switchover_nodes(Topology((NEW,)), "db2")
    starting = ClusterNode(name="a", error=ConnectionFailed("connect", "starting"), refuses=True)
    with pytest.raises(ServerError, match="no primary accepts connections at present"):
        switchover_nodes(Topology((NEW, starting)), "db2")
