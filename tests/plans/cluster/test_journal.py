"""Journals: storing, reading, and the state of an operation that stopped."""

from __future__ import annotations

import json
from datetime import timedelta

import attrs
import pytest
from clusterfacts import NOW, every_step, handover, names, promotions
from hypothesis import given, strategies as st

from pgreplkit.plans.cluster.journal import Journal, LostPrimary, WriteStates
from pgreplkit.plans.cluster.steps import (
    Checkpoint,
    DropSlots,
    Promote,
    Rewind,
    SetSyncNames,
    Step,
)
from pgreplkit.plans.cluster.switchover import switchover_steps
from pgreplkit.plans.cluster.upgradesteps import Analyze
from pgreplkit.plans.mesh.steps import StopWrites
from pgreplkit.rows import Promotion, StepProgress, StepResult

some_names = st.lists(names).map(tuple)
lost_primaries = st.builds(LostPrimary, primary=names, evidence=some_names, standbys=some_names)
UPGRADE = Journal(
    operation="upgrade of a",
    steps=(SetSyncNames("a", "", "b"), Checkpoint("a"), Promote("b", 18)),
    writes=WriteStates(states=("one", "two", "three", "four"), outage=(0, 1)),
)


def after(journal: Journal, count: int) -> Journal:
    """The journal when the first steps are done, one second each."""
    for number, step in enumerate(journal.steps[:count]):
        begin = NOW + timedelta(seconds=number)
        done = StepResult(step=step, began_at=begin, ended_at=begin + timedelta(seconds=1))
        journal = journal.with_done(done, None)
    return journal


def test_the_outage_begins_when_a_fence_locks_the_tables_also_in_a_stored_journal() -> None:
    done = after(UPGRADE, 2)
    fence = attrs.evolve(done.done[0], refused_at=NOW + timedelta(seconds=0.75))
    fenced = attrs.evolve(done, done=(fence, done.done[1]))
    assert Journal.from_json(fenced.to_json()) == fenced
    assert fenced.result.write_outage == timedelta(seconds=1.25)


@given(st.lists(every_step), st.none() | promotions, st.none() | lost_primaries, st.data())
def test_a_journal_is_the_same_after_it_was_stored_and_read(
    steps: list[Step],
    promotion: Promotion | None,
    lost_primary: LostPrimary | None,
    data: st.DataObject,
) -> None:
    count = data.draw(st.integers(0, len(steps)))
    states = tuple(data.draw(names) for _ in range(len(steps) + 1))
    first = st.integers(0, max(0, len(steps) - 1))
    outages = st.tuples(first, first).map(lambda both: (min(both), max(both)))
    outage = st.none() | outages if steps else st.none()
    written = data.draw(st.none() | st.builds(WriteStates, states=st.just(states), outage=outage))
    journal = attrs.evolve(
        after(Journal(operation="o", steps=tuple(steps), writes=written), count),
        promotion=promotion,
        lost_primary=lost_primary,
        lost_bytes=data.draw(st.none() | st.integers(0)),
    )
    again = Journal.from_json(journal.to_json())
    assert again == journal
    assert (*(result.step for result in again.done), *again.remaining) == journal.steps


def test_a_journal_is_resumed_only_where_all_its_servers_are_known() -> None:
    UPGRADE.check_servers({"b", "a", "c"}, "cluster")
    lost = attrs.evolve(UPGRADE, lost_primary=LostPrimary(primary="z", evidence=(), standbys=()))
    for journal, known in ((UPGRADE, ["a"]), (lost, ["a", "b"])):
        with pytest.raises(ValueError, match=r"names servers outside this cluster: [bz]; add"):
            journal.check_servers(known, "cluster")


def test_a_journal_is_resumed_only_by_the_kind_of_object_that_performs_its_steps() -> None:
    journals = {
        "cluster": UPGRADE,
        "mesh": attrs.evolve(UPGRADE, steps=(Checkpoint("a"), StopWrites("a", "m"))),
        "upgrade": attrs.evolve(UPGRADE, steps=(DropSlots("a", ("s",)), Analyze("new"))),
    }
    for kind, journal in journals.items():
        journal.check_performer(kind)
        for other in {*journals} - {kind}:
            with pytest.raises(ValueError, match=f"resume the upgrade of a: .* {kind}, not of an?"):
                journal.check_servers({"a", "b", "new"}, other)


@pytest.mark.parametrize("key", json.loads(UPGRADE.to_json()))
def test_a_journal_that_lacks_a_part_is_refused(key: str) -> None:
    content = json.loads(UPGRADE.to_json())
    del content[key]
    with pytest.raises(ValueError, match="could not read the journal"):
        Journal.from_json(json.dumps(content))


def test_a_journal_with_too_few_write_states_is_refused() -> None:
    content = json.loads(UPGRADE.to_json())
    content["writes"]["states"].pop()
    with pytest.raises(ValueError, match="3 states for 3 steps"):
        Journal.from_json(json.dumps(content))


def test_the_operation_itself_says_who_accepts_writes_and_when_no_server_does() -> None:
    assert [after(UPGRADE, count).state for count in range(4)] == ["one", "two", "three", "four"]
    assert [after(UPGRADE, count).result.write_outage for count in range(4)] == [
        *(None, None),
        *[timedelta(seconds=2)] * 2,
    ]
    unchanged = Journal(operation="o", steps=(Rewind("a", "b", "host=b"),))
    assert unchanged.state == "the operation does not change which servers accept writes"
    assert after(unchanged, 1).result.write_outage is None


def test_only_steps_that_may_have_been_started_are_undone() -> None:
    started = UPGRADE.to_undo
    assert [step.node for step in started] == ["a"]
    assert after(UPGRADE, 2).final_step(next_is_begun=False) is None
    assert after(UPGRADE, 2).final_step(next_is_begun=True) is UPGRADE.steps[2]
    assert after(UPGRADE, 3).final_step(next_is_begun=False) is UPGRADE.steps[2]


def test_a_failure_says_the_state_and_both_ways() -> None:
    failure = after(UPGRADE, 1).failure("a: checkpoint", "disk full", None)
    assert (failure.state, failure.done) == ("two", ("a: set synchronous_standby_names to ''",))
    assert failure.way_on == "fix the cause, then call resume()"
    assert failure.way_back == "undo(), which does: a: restore synchronous_standby_names"
    late = after(UPGRADE, 2).failure("b: promote it", "paused", "/tmp/j")
    assert "plan_resume() with the journal '/tmp/j'" in late.way_on
    assert late.way_back.endswith("; never start the old primary as a primary again")


def test_only_the_journal_of_an_upgrade_by_rows_is_rebuilt_from_the_servers() -> None:
    steps = (Analyze(node="new"),)
    for operation, is_rebuilt in (
        ("cutover of shop", True),
        ("preparation of shop", True),
        ("preparation by clone of shop", False),
    ):
        journal = Journal(operation=operation, steps=steps)
        way_on = journal.failure("s", "disk full", "/tmp/j").way_on
        assert ("pass another path as journal=: plan_resume() rebuilds" in way_on) == is_rebuilt
        assert "rebuilds" not in journal.failure("s", "disk full", None).way_on
    assert "rebuilds" not in after(UPGRADE, 1).failure("a: checkpoint", "full", "/tmp/j").way_on


def test_a_result_describes_its_steps_and_what_was_lost() -> None:
    journal = after(Journal(operation="o", steps=switchover_steps(handover())), 8)
    assert journal.result.elapsed == timedelta(seconds=8)
    assert Journal(operation="o", steps=()).result.elapsed == timedelta(0)
    assert "lost" not in str(journal.result)
    known = attrs.evolve(journal.result, lost_bytes=7, write_outage=timedelta(seconds=4))
    assert str(known).splitlines()[-2:] == [
        "  no server accepted writes for 4.00 s",
        "  at least 7 bytes of WAL are lost, and any WAL that the primary reported to no standby",
    ]
    progress = StepProgress(step=journal.steps[0], number=1, count=8, elapsed=None)
    assert str(progress) == f"1/8 {journal.steps[0]} …"


EDITED = [
    ("undone", "no"),
    ("undone", 0),
    ("operation", None),
    ("lost_bytes", 1.5),
    ("databases", [5]),
    ("databases", "ab"),
    ("done", {}),
    ("done", [["2026-01-01T00:00:00", "2026-01-01T00:00:01"]]),
    ("done", [["2026-01-01T00:00:00+00:00", "soon"]]),
    ("done", [["2026-01-01T00:00:00+00:00", "2026-01-01T00:00:01+00:00"]] * 9),
    ("writes", {"states": ["a", "b", "c", "d"], "outage": [2, 3]}),
    ("writes", {"states": ["a", "b", "c", "d"], "outage": [2, 1]}),
    ("writes", {"states": ["a", "b", "c", "d"], "outage": [0, 1, 2]}),
    ("writes", {"states": ["a", "b", "c", 5], "outage": None}),
    ("steps", [{"kind": "Checkpoint", "node": 5}]),
    ("steps", [{"kind": "DropSlots", "node": "a", "slots": "ab"}]),
    ("steps", [{"kind": "Later", "node": "a"}]),
    ("format", 2),
]
"""Values that no version writes, or not this one."""


@pytest.mark.parametrize(("key", "value"), EDITED)
def test_a_journal_that_was_edited_or_is_of_another_version_is_refused(
    key: str, value: object
) -> None:
    content = json.loads(attrs.evolve(UPGRADE, writes=None).to_json())
    with pytest.raises(ValueError, match="could not read the journal: "):
        Journal.from_dict({**content, key: value})


@given(st.data())
def test_a_journal_that_is_cut_off_is_refused(data: st.DataObject) -> None:
    text = after(UPGRADE, 2).to_json()
    with pytest.raises(ValueError, match="could not read the journal: it is not JSON"):
        Journal.from_json(text[: data.draw(st.integers(0, len(text) - 1))])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"steps": [5]}', "[" * 100_000, b"\xff"])
def test_a_file_that_is_not_a_journal_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="could not read the journal"):
        Journal.from_json(text)


def test_a_journal_of_other_databases_is_not_resumed() -> None:
    journal = attrs.evolve(UPGRADE, databases=("1/shop", "2/shop"))
    assert Journal.from_json(journal.to_json()) == journal
    journal.check_databases(["1/shop", "2/shop"])
    with pytest.raises(ValueError, match="1/shop, 2/shop, and these are 1/shop, 3"):
        journal.check_databases(["1/shop", "3/shop"])
