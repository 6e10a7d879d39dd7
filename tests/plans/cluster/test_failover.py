"""Failover: its steps, and the evidence that the primary is lost: any answer means it is not."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from clusterfacts import handover, replay_status
from hypothesis import given, strategies as st

from pgreplkit import LSN, SyncStandbyNames
from pgreplkit.driver.probe import single_hosts
from pgreplkit.errors import ConnectionFailed, ServerError
from pgreplkit.plans.cluster import steps
from pgreplkit.plans.cluster.failover import (
    FailoverFacts,
    Reply,
    StandbyReport,
    connection_evidence,
    failover_candidate,
    failover_findings,
    failover_steps,
    lost_primary,
    process_evidence,
    standbys_evidence,
)
from pgreplkit.rows import ClusterNode, PauseState, ReplayStatus, Severity, Topology

reports = st.lists(
    st.builds(
        StandbyReport,
        name=st.sampled_from(["b", "c", "d"]),
        streams=st.none() | st.booleans(),
        reply=st.sampled_from([*Reply]),
        answer=st.just("the database system is starting up"),
    ),
    max_size=3,
)


@given(st.sampled_from([*Reply]))
def test_only_silence_is_evidence_that_a_primary_is_lost(reply: Reply) -> None:
    finding = connection_evidence("a", "a:5432", reply, "FATAL:\n  starting up")
    assert (finding.severity is Severity.OK) == (reply is Reply.SILENT)
    assert "\n" not in finding.found


def test_a_primary_that_starts_up_is_waited_for() -> None:
    finding = connection_evidence(
        "a", "a:5432", Reply.REFUSED, "the database system is starting up"
    )
    assert finding.found.endswith("takes no connections now: the database system is starting up")
    assert finding.remedy.startswith("wait: if a starts up or recovers, until it takes connections")


@given(reports)
def test_a_primary_is_not_lost_while_a_standby_streams_or_does_not_say(
    reports: list[StandbyReport],
) -> None:
    is_lost = standbys_evidence("a", reports).severity is Severity.OK
    if any(report.streams for report in reports):
        assert not is_lost
    if any(report.streams is None and report.reply is not Reply.SILENT for report in reports):
        assert not is_lost
    if all(report.streams is None for report in reports):
        assert not is_lost, "nothing was asked"
    if is_lost:
        assert any(report.streams is False for report in reports)


def test_a_standby_lost_with_the_primary_is_not_an_obstacle() -> None:
    gone = StandbyReport(name="c", streams=None, reply=Reply.SILENT, answer="no route")
    here = StandbyReport(name="b", streams=False, reply=Reply.ACCEPTED)
    finding = standbys_evidence("a", [here, gone])
    assert finding.severity is Severity.OK
    assert finding.found == "none streams from it; c did not answer"


@pytest.mark.parametrize(
    ("parts", "places"),
    [
        ({"host": "a"}, ["a"]),
        ({"host": "a,b", "port": "1"}, ["a:1", "b:1"]),
        ({"host": "a,b", "port": "1,2"}, ["a:1", "b:2"]),
        ({"hostaddr": "10.0.0.1,10.0.0.2"}, ["10.0.0.1", "10.0.0.2"]),
    ],
)
def test_each_host_is_asked(parts: dict[str, str | int | None], places: list[str]) -> None:
    asked = [*single_hosts(parts, ())]
    found = [(one.get("host") or one.get("hostaddr"), one.get("port")) for one in asked]
    assert [f"{host}:{port}" if port else host for host, port in found] == places


def test_a_server_is_asked_whatever_its_role_and_encryption() -> None:
    parts: dict[str, str | int | None] = {
        "service": "db1",
        "host": "a",
        "target_session_attrs": "standby",
        "sslmode": "verify-full",
        "requirepeer": "other",
    }
    # Set, not left out: the service would set them again.
    [asked] = single_hosts(parts, ["sslmode", "requirepeer", "target_session_attrs"])
    assert asked == {
        "service": "db1",
        "host": "a",
        "target_session_attrs": "any",
        "sslmode": "disable",
        "requirepeer": "",
    }


def test_a_failover_does_nothing_on_the_lost_primary_but_fence_it() -> None:
    planned = failover_steps(handover(), fenced=True)
    assert planned[0] == steps.Fence("Db-1")
    assert not any(step.node == "Db-1" for step in planned[1:])
    unfenced = failover_steps(handover(), fenced=False)
    assert not any(isinstance(step, steps.Fence) for step in unfenced)


OLD, NEW, THIRD = handover().topology.nodes
DOWN = ClusterNode(name="Db-1", error=ConnectionFailed("connect", "refused"))
OTHER = attrs.evolve(DOWN, name="other")


@pytest.mark.parametrize(
    ("nodes", "seen", "name", "expected"),
    [
        ((DOWN, NEW), None, None, "Db-1"),
        ((DOWN, OTHER, NEW), OLD, None, "Db-1"),
        ((DOWN, OTHER, NEW), None, "other", "other"),
        ((OLD, NEW), OLD, None, "Db-1"),
        ((OLD, NEW, OTHER), OLD, None, "Db-1"),
        ((OLD, NEW, OTHER), None, None, "Db-1"),
    ],
)
def test_the_lost_primary_is_the_named_the_last_seen_or_the_only_one_down(
    nodes: tuple[ClusterNode, ...], seen: ClusterNode | None, name: str | None, expected: str
) -> None:
    assert lost_primary(Topology(nodes), seen, name).name == expected


@pytest.mark.parametrize("nodes", [(DOWN, OTHER, NEW), (NEW, THIRD)])
def test_an_unknown_lost_primary_must_be_named(nodes: tuple[ClusterNode, ...]) -> None:
    with pytest.raises(ServerError, match=r"which server was the primary .* primary="):
        lost_primary(Topology(nodes), None, None)


def test_only_a_standby_that_answers_is_a_candidate() -> None:
    topology = Topology((OLD, NEW, OTHER))
    assert failover_candidate(topology, "db2") is NEW
    assert failover_candidate(topology, None) is NEW
    for name in ("Db-1", "other"):
        with pytest.raises(ServerError, match=f"{name} is not a standby that answers"):
            failover_candidate(topology, name)
    with pytest.raises(ServerError, match="no standby answers"):
        failover_candidate(Topology((OLD, OTHER)), None)


def test_a_running_process_is_not_a_lost_primary() -> None:
    assert process_evidence("a", is_running=False).severity is Severity.OK
    assert process_evidence("a", is_running=True).severity is Severity.CRITICAL


FACTS = FailoverFacts(
    handover=handover(new=attrs.evolve(NEW, lsn=LSN("0/4000000"))),
    evidence=[],
    statuses={"db2": replay_status(), "db3": replay_status()},
    controlled={},
)


def problems(facts: FailoverFacts) -> dict[str, Severity]:
    return {f.check: f.severity for f in failover_findings(facts) if f.severity != Severity.OK}


def test_a_failover_that_can_be_done_has_no_problem() -> None:
    assert problems(FACTS) == {}


def test_another_primary_that_answers_is_an_obstacle() -> None:
    base = FACTS.handover
    other = attrs.evolve(base.old, name="vip")
    nodes = attrs.evolve(base.topology, nodes=(*base.topology.nodes, other))
    facts = attrs.evolve(FACTS, handover=attrs.evolve(base, topology=nodes))
    assert problems(facts) == {"primaries": Severity.CRITICAL}


@given(st.integers(0, 100), st.integers(0, 100))
def test_the_candidate_must_have_the_most_wal(own: int, other: int) -> None:
    statuses = {
        "db2": replay_status(received_lsn=LSN(own), replayed_lsn=LSN(0)),
        "db3": replay_status(received_lsn=None, replayed_lsn=LSN(other)),
    }
    found = problems(attrs.evolve(FACTS, statuses=statuses))
    assert ("candidate" in found) == (other > own)


@pytest.mark.parametrize(
    "changed",
    [
        {"pause_state": PauseState.PAUSED},
        {"pause_state": PauseState.PAUSE_REQUESTED},
        {"apply_delay": timedelta(seconds=1)},
    ],
)
def test_replay_must_be_able_to_end(changed: dict[str, object]) -> None:
    facts = attrs.evolve(FACTS, statuses={"db2": replay_status(**changed)})
    assert problems(facts)["replay"] is Severity.CRITICAL


@pytest.mark.parametrize("others", [{"db3": replay_status()}, {}])
def test_a_candidate_that_does_not_answer_is_refused(others: dict[str, ReplayStatus]) -> None:
    facts = attrs.evolve(FACTS, statuses=others)
    assert {"candidate", "replay"} <= problems(facts).keys()


def test_commits_that_would_wait_are_a_warning() -> None:
    names = SyncStandbyNames.parse("FIRST 1 (elsewhere)")
    waiting = attrs.evolve(FACTS, handover=attrs.evolve(FACTS.handover, new_sync_names=names))
    assert problems(waiting) == {"synchronous_standby_names": Severity.WARNING}


@given(st.none() | st.integers(0, 100), st.none() | st.integers(0, 100))
def test_lost_wal_is_what_anyone_reported_and_the_candidate_lacks(
    end: int | None, seen: int | None
) -> None:
    base = FACTS.handover
    old = attrs.evolve(base.old, lsn=None if seen is None else LSN(seen))
    changed = attrs.evolve(base, old=old, new=attrs.evolve(base.new, lsn=LSN(50)))
    status = replay_status(latest_end_lsn=None if end is None else LSN(end))
    facts = attrs.evolve(FACTS, handover=changed, statuses={"db2": status})
    known = [lsn for lsn in (end, seen) if lsn is not None]
    expected = Severity.OK if max(known, default=0) <= 50 else Severity.WARNING
    assert problems(facts).get("lost WAL", Severity.OK) == (expected if known else Severity.INFO)
