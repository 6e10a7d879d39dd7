"""Plans: run, resumed and undone with an actor that records the steps."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
from htmlchecks import words_of

from pgreplkit._sync.cluster.plan import Plan
from pgreplkit.errors import (
    ControlFailed,
    HostFileError,
    PlanFailed,
    PlanRefused,
    UpgradeActive,
)
from pgreplkit.plans.cluster.journal import Journal, LostPrimary, WriteStates
from pgreplkit.plans.cluster.steps import (
    Checkpoint,
    DropSlots,
    MakeSlots,
    Promote,
    SetSyncNames,
    Step,
)
from pgreplkit.rows import Finding, Promotion, Severity, StepProgress

STEPS = (MakeSlots("b", ("a",)), SetSyncNames("b", "a", ""), Promote("b", 18))
JOURNAL = Journal(
    operation="promotion of b",
    steps=STEPS,
    writes=WriteStates(states=("first", "second", "third", "last")),
)


@attrs.define
class Recorder:
    """Performs nothing, and fails at one step."""

    failing: Step | None = None
    is_interrupted: bool = False
    alive: str = ""
    journal: Path | None = None
    full_at: Step | None = None
    """While this step is performed or undone, the journal's directory becomes unusable."""
    performed: list[Step] = attrs.field(factory=list)
    undone: list[Step] = attrs.field(factory=list)

    def perform(self, step: Step) -> Promotion | None:
        self.performed.append(step)
        self.fill_disk(step)
        self.fail(step, "do it")
        return None

    def take_back(self, step: Step) -> None:
        self.undone.append(step)
        self.fill_disk(step)
        self.fail(step, "undo it")

    def fail(self, step: Step, operation: str) -> None:
        if step is self.failing:
            if self.is_interrupted:
                raise KeyboardInterrupt
            raise ControlFailed(operation, "out of order")

    def fill_disk(self, step: Step) -> None:
        if self.journal and step is self.full_at:
            self.journal.parent.rename(self.journal.parent.with_name("unusable"))

    def free_disk(self) -> None:
        assert self.journal is not None
        self.journal.parent.with_name("unusable").rename(self.journal.parent)
        self.full_at = None

    def missing_evidence(self, lost: LostPrimary) -> str:
        return self.alive


@attrs.frozen
class Checks:
    """One finding."""

    severity: Severity = Severity.OK

    def findings(self) -> list[Finding]:
        return [Finding(check="disk", severity=self.severity, found="full", needed="space")]


def test_a_plan_performs_its_steps_once_and_in_order() -> None:
    actor = Recorder()
    plan = Plan(actor, JOURNAL, Checks(), None)
    result = plan.run()
    assert actor.performed == list(STEPS)
    assert [done.step for done in result.steps] == list(STEPS)
    with pytest.raises(ValueError, match=r"already started; call resume\(\)"):
        plan.run()
    assert str(plan).count("done") == 3


def test_a_plan_is_shown_and_stored_as_its_journal() -> None:
    plan = Plan(Recorder(), JOURNAL, Checks(), None)
    assert Journal.from_dict(plan.to_dict()) == JOURNAL
    assert [line.split()[0] for line in str(plan).splitlines()[1::2]] == ["1.", "2.", "3."]
    assert "promotion of b 0 of 3 steps done" in words_of(plan._repr_html_())


def test_a_critical_finding_stops_a_plan_before_its_first_step() -> None:
    actor = Recorder()
    plan = Plan(actor, JOURNAL, Checks(Severity.CRITICAL), None)
    with pytest.raises(PlanRefused, match="nothing was changed:\n  disk: full; needed: space"):
        plan.run()
    assert actor.performed == []
    plan.run(force=True)
    assert actor.performed == list(STEPS)


def test_a_step_with_one_slot_is_in_the_singular() -> None:
    assert str(MakeSlots("b", ("a",))) == "b: create the slot a"
    assert str(MakeSlots("b", ("a", "c"))) == "b: create the slots a, c"
    assert str(DropSlots("b", ("a",))) == "b: drop the slot a"


@pytest.mark.parametrize("is_same_process", [True, False])
def test_a_repeated_step_counts_from_its_first_attempt(
    is_same_process: bool, tmp_path: Path
) -> None:
    file = tmp_path / "journal"
    actor = Recorder(failing=STEPS[1])
    writes = WriteStates(states=("first", "second", "third", "last"), outage=(1, 2))
    plan = Plan(actor, attrs.evolve(JOURNAL, writes=writes), Checks(), file)
    with pytest.raises(PlanFailed):
        plan.run()
    failed_at, actor.failing = datetime.now(UTC), None
    if not is_same_process:
        plan = Plan(actor, Journal.from_json(file.read_text()), None, file)
    first, repeated, last = plan.resume().steps
    assert first.ended_at <= repeated.began_at < failed_at < last.began_at
    assert plan.resume().write_outage == last.ended_at - repeated.began_at


def test_a_plan_that_another_process_continues_neither_goes_on_nor_is_undone(
    tmp_path: Path,
) -> None:
    file, actor = tmp_path / "journal", Recorder(failing=STEPS[1])
    plan = Plan(actor, JOURNAL, Checks(), file)
    with pytest.raises(PlanFailed):
        plan.run()
    actor.failing = None
    first, second = (
        Plan(Recorder(), Journal.from_json(file.read_text()), None, file) for _ in range(2)
    )

    def overtake(progress: StepProgress) -> None:
        if progress.elapsed is None and progress.number == 2:
            first.resume()

    for act in (lambda: second.resume(overtake), second.undo, plan.resume, plan.undo):
        with pytest.raises(HostFileError, match="was written by another process") as caught:
            act()
        assert "; done here before: " in str(caught.value)
        assert "; state then: second; wait until" in str(caught.value)
    assert actor.performed == [*STEPS[:2]]
    assert actor.undone == []
    assert not Journal.from_json(file.read_text()).remaining


def test_a_plan_that_was_undone_has_the_times_of_its_second_run() -> None:
    actor = Recorder(failing=STEPS[1])
    plan = Plan(actor, JOURNAL, Checks(), None)
    with pytest.raises(PlanFailed):
        plan.run()
    actor.failing = None
    plan.undo()
    undone_at = datetime.now(UTC)
    assert all(done.began_at > undone_at for done in plan.run().steps)


@pytest.mark.parametrize("number", range(len(STEPS)))
def test_a_failed_plan_continues_with_the_step_that_failed(number: int, tmp_path: Path) -> None:
    file = tmp_path / "journal"
    actor = Recorder(failing=STEPS[number])
    plan = Plan(actor, JOURNAL, Checks(), file)
    with pytest.raises(PlanFailed) as caught:
        plan.run()
    assert caught.value.state == ["first", "second", "third"][number]
    with pytest.raises(ValueError, match="belongs to an unfinished operation"):
        Plan(Recorder(), JOURNAL, Checks(), file).run()
    other = Recorder()
    read = Journal.from_json(file.read_text())
    Plan(other, read, None, file).resume()
    assert other.performed == list(STEPS[number:])
    assert not Journal.from_json(file.read_text()).remaining


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder / "journal"


@pytest.mark.parametrize("number", range(len(STEPS)))
def test_a_step_that_the_journal_could_not_record_is_repeated(number: int, journal: Path) -> None:
    actor = Recorder(journal=journal, full_at=STEPS[number])
    plan = Plan(actor, JOURNAL, Checks(), journal)
    with pytest.raises(PlanFailed, match=r"could not write the journal .*journal'") as caught:
        plan.run()
    assert caught.value.state == ["first", "second", "third"][number]
    assert "way on: fix the cause, then call resume()" in str(caught.value)
    assert plan.remaining == STEPS[number:]
    actor.free_disk()
    assert Journal.from_json(journal.read_text()).remaining == STEPS[number:]
    actor.performed.clear()
    plan.resume()
    assert actor.performed == list(STEPS[number:])
    assert not Journal.from_json(journal.read_text()).remaining


def test_a_journal_never_says_that_an_undone_step_is_done(journal: Path) -> None:
    actor = Recorder(journal=journal)
    steps = (*STEPS[:2], STEPS[0], STEPS[1])
    plan = Plan(actor, attrs.evolve(JOURNAL, steps=steps, writes=None), Checks(), journal)
    plan.run()
    actor.full_at = steps[3]
    with pytest.raises(PlanFailed, match="could not write the journal"):
        plan.undo()
    assert actor.undone == [steps[3]]
    actor.free_disk()
    assert Journal.from_json(journal.read_text()).remaining == steps[3:]
    actor.full_at = steps[0]
    with pytest.raises(PlanFailed, match="could not write the journal"):
        plan.undo()
    actor.free_disk()
    assert Journal.from_json(journal.read_text()).remaining == steps[2:]
    actor.undone.clear()
    assert plan.undo() == [*steps[2::-1]]
    assert not Journal.from_json(journal.read_text()).is_unfinished


def test_undo_is_repeated_if_the_journal_could_not_say_that_all_is_undone(journal: Path) -> None:
    actor = Recorder(journal=journal, failing=STEPS[1])
    plan = Plan(actor, JOURNAL, Checks(), journal)
    with pytest.raises(PlanFailed):
        plan.run()
    actor.failing, actor.full_at = None, STEPS[0]
    undone = "done here before: nothing; state then: first"
    with pytest.raises(HostFileError, match=f"could not write the journal .*; {undone}"):
        plan.undo()
    actor.free_disk()
    assert Journal.from_json(journal.read_text()).is_unfinished
    assert plan.undo() == [STEPS[0]]
    assert not Journal.from_json(journal.read_text()).is_unfinished


@attrs.frozen
class Busy:
    """The lock of an operation that another process runs, once this one has begun it."""

    @contextmanager
    def held(self, operation: str, *, resumes: bool) -> Iterator[None]:
        if resumes:
            raise UpgradeActive(operation, "old", 17, None, "psql")
        yield

    def verify(self, operation: str, node: str) -> None:
        pass

    def marked(self, journal: Journal) -> Journal:
        return journal

    def stale_reason(self, journal: Journal, *, undoes: bool) -> str:
        return ""

    def insist_on_state(self, operation: str, journal: Journal) -> None:
        pass


def test_a_plan_that_another_process_runs_says_what_was_done_and_who_accepted_writes() -> None:
    actor = Recorder(failing=STEPS[1])
    plan = Plan(actor, JOURNAL, Checks(), None, Busy())
    with pytest.raises(PlanFailed):
        plan.run()
    for act in (plan.resume, plan.undo):
        with pytest.raises(UpgradeActive) as caught:
            act()
        found = "; done here before: b: create the slot a; state then: second"
        assert found in str(pickle.loads(pickle.dumps(caught.value)))
    assert actor.undone == []


def test_undo_reverts_what_may_have_been_done_in_reverse_order() -> None:
    actor = Recorder(failing=STEPS[1])
    plan = Plan(actor, JOURNAL, Checks(), None)
    with pytest.raises(PlanFailed):
        plan.run()
    with pytest.raises(PlanFailed, match="undo: b: set synchronous_standby_names"):
        plan.undo()
    actor.failing = None
    actor.undone.clear()
    assert plan.undo() == [STEPS[1], STEPS[0]]
    assert actor.undone == [STEPS[1], STEPS[0]]
    assert plan.remaining == STEPS


def test_a_plan_that_did_not_start_is_neither_undone_nor_resumed() -> None:
    actor = Recorder()
    plan = Plan(actor, JOURNAL, Checks(Severity.CRITICAL), None)
    with pytest.raises(PlanRefused):
        plan.run()
    assert plan.undo() == []
    with pytest.raises(ValueError, match=r"not started; call run\(\)"):
        plan.resume()
    assert (actor.performed, actor.undone) == ([], [])


def test_a_plan_that_was_undone_runs_again_with_its_journal_file(tmp_path: Path) -> None:
    actor = Recorder(failing=STEPS[1])
    plan = Plan(actor, JOURNAL, Checks(), tmp_path / "journal")
    with pytest.raises(PlanFailed):
        plan.run()
    actor.failing = None
    plan.undo()
    with pytest.raises(ValueError, match=r"not started; call run\(\)"):
        plan.resume()
    plan.run()
    assert plan.remaining == ()


def test_a_final_step_is_not_undone_once_it_may_have_been_started(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    plan = Plan(Recorder(failing=STEPS[2]), JOURNAL, Checks(), file)
    with pytest.raises(PlanFailed):
        plan.run()
    other = Plan(Recorder(), Journal.from_json(file.read_text()), None, file)
    for interrupted in (plan, other):
        with pytest.raises(PlanFailed, match="it may be done, and cannot be undone"):
            interrupted.undo()


def test_a_promotion_that_is_the_last_step_is_not_undone() -> None:
    plan = Plan(Recorder(), JOURNAL, Checks(), None)
    plan.run()
    with pytest.raises(PlanFailed, match="cannot be undone"):
        plan.undo()


def test_a_resumed_failover_needs_a_primary_that_is_still_lost() -> None:
    lost = LostPrimary(primary="a", evidence=("connection",), standbys=("b",))
    steps = (Checkpoint("b"), *STEPS)
    journal = Journal(operation="failover", steps=steps, lost_primary=lost)
    actor = Recorder(failing=steps[0], alive="connection: it answers")
    plan = Plan(actor, journal, Checks(), None)
    with pytest.raises(PlanFailed, match="out of order"):
        plan.run()
    with pytest.raises(PlanFailed, match="a is still out of reach: connection: it answers"):
        plan.resume()
    assert actor.performed == [steps[0]]
    actor.alive, actor.failing = "", None
    plan.resume()
    assert actor.performed == [steps[0], *steps]


def test_a_primary_that_comes_back_during_a_long_replay_is_not_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = LostPrimary(primary="a", evidence=("connection",), standbys=("b",))
    journal = Journal(operation="failover", steps=STEPS, lost_primary=lost)
    actor = Recorder(alive="connection: it answers")
    # Steps that take no time do not repeat the check, which can last as long as a timeout.
    Plan(actor, journal, Checks(), None).run()
    assert actor.performed == list(STEPS)
    monkeypatch.setattr("pgreplkit._sync.cluster.plan._EVIDENCE_LASTS", 0)
    slow = Recorder(alive="connection: it answers")
    plan = Plan(slow, journal, Checks(), None)
    with pytest.raises(PlanFailed, match="a is still out of reach: connection: it answers"):
        plan.run()
    assert slow.performed == list(STEPS[:2])
    # A forced failover ignores the evidence here as well.
    forced = Recorder(alive="connection: it answers")
    Plan(forced, journal, Checks(Severity.CRITICAL), None).run(force=True)
    assert forced.performed == list(STEPS)


def test_steps_refusals_and_failures_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pgreplkit.plans")
    with pytest.raises(PlanRefused):
        Plan(Recorder(), JOURNAL, Checks(Severity.CRITICAL), None).run()
    with pytest.raises(PlanFailed):
        Plan(Recorder(failing=STEPS[1]), JOURNAL, Checks(), None).run()
    found = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert found[0] == ("INFO", "promotion of b: refused because of disk")
    assert [level for level, _ in found] == ["INFO", "INFO", "INFO", "INFO", "WARNING"]
    assert found[1][1].startswith("promotion of b, step 1 of 3 begins: ")
    assert found[2][1].startswith("promotion of b, step 1 of 3 is done after 0.0 s")
    assert found[4][1].startswith("promotion of b: failed in ")
    assert found[4][1].endswith("out of order; second")


def test_an_interruption_stays_one_and_has_a_note_of_the_state(
    caplog: pytest.LogCaptureFixture,
) -> None:
    actor = Recorder(failing=STEPS[1], is_interrupted=True)
    plan = Plan(actor, JOURNAL, Checks(), None)
    for act in (plan.run, plan.undo):
        with pytest.raises(KeyboardInterrupt) as caught:
            act()
        [note] = caught.value.__notes__
        assert "interrupted by KeyboardInterrupt" in note
        assert "state: second" in note
        assert caplog.records[-1].getMessage().endswith("by KeyboardInterrupt; second")
    actor.failing = None
    plan.undo()
    assert actor.undone == [STEPS[1], STEPS[1], STEPS[0]]
