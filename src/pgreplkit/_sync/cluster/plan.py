# Generated from pgreplkit/_async/cluster/plan.py by `nox -s sync`. Do not edit.
"""Plan: an operation that can be looked at, checked, run, resumed, and taken back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import attrs

from pgreplkit._sync.cluster import actions
from pgreplkit._sync.cluster.failover import why_not_lost
from pgreplkit._sync.cluster.site import Site
from pgreplkit.errors import Error, PlanFailed, PlanRefused
from pgreplkit.host.configfiles import replace_file
from pgreplkit.plans.cluster.journal import Journal, Lost, Result, StepProgress, StepResult
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.server.readiness import Readiness
from pgreplkit.values.finding import Finding, Severity


class Checks(Protocol):
    """What an operation needs, asked without changing anything."""

    def findings(self) -> list[Finding]:
        """One finding for each thing that was looked at."""
        ...


class Plan:
    """An operation on a cluster: its steps, and how far they are done.

    Making one and ``check`` change nothing on any server. Made by the methods of a cluster, as
    ``switchover``. With a journal file, another process can go on where this one ended.
    """

    def __init__(
        self,
        site: Site,
        journal: Journal,
        checks: Checks | None,
        journal_file: Path | None,
    ) -> None:
        self._site = site
        self._journal = journal
        self._checks = checks
        self._journal_file = journal_file
        self._begun: Step | None = None

    @property
    def operation(self) -> str:
        """What it does, in words."""
        return self._journal.operation

    @property
    def steps(self) -> tuple[Step, ...]:
        """All its steps, in their order."""
        return self._journal.steps

    @property
    def remaining(self) -> tuple[Step, ...]:
        """The steps that are still to do."""
        return self._journal.remaining

    def check(self) -> Readiness:
        """Everything that it needs, one finding for each, with what was found and its limit.

        Nothing is changed on any server.

        Raises: InsufficientPrivilege, ConnectionFailed, ControlFailed.
        """
        found = [] if self._checks is None else self._checks.findings()
        return Readiness(findings=tuple(found))

    def run(
        self,
        on_progress: Callable[[StepProgress], None] | None = None,
        *,
        force: bool = False,
    ) -> Result:
        """Check it, and do its steps one after another.

        ``on_progress`` is called when a step begins and when it is done.

        Raises: PlanRefused when a finding is critical, unless ``force``: then nothing is changed;
        PlanFailed when a step fails, which says how to go on and how to get back; ValueError when
        it was begun already, or the journal file is that of an unfinished operation.
        """
        if self._journal.done or self._begun:
            raise ValueError(f"{self.operation} was begun already: resume() goes on with it")
        kept = self._journal_file
        if kept and kept.exists() and Journal.from_json(kept.read_text()).remaining:
            raise ValueError(
                f"{kept} is of an operation that is not finished: resume that, or remove the file"
            )
        readiness = self.check()
        if not readiness.is_ready and not force:
            bad = [f for f in readiness.findings if f.severity is Severity.CRITICAL]
            raise PlanRefused(self.operation, tuple(bad))
        lost = self._journal.lost if readiness.is_ready else None
        self._keep(attrs.evolve(self._journal, lost=lost))
        return self._go_on(on_progress)

    def resume(self, on_progress: Callable[[StepProgress], None] | None = None) -> Result:
        """Go on with the step that failed or was interrupted.

        Steps that were done before are not done again. A failover looks again first whether the
        primary is out of reach.

        Raises: PlanFailed.
        """
        if self._journal.lost is not None and any(step.is_final for step in self.remaining):
            self._insist_on(self._journal.lost)
        return self._go_on(on_progress)

    def undo(self) -> tuple[Step, ...]:
        """Take back what was done, the last step first; gives the steps that were taken back.

        Raises: PlanFailed when there is no way back any more, or one of them cannot be taken back.
        """
        begun = self.steps[: len(self._journal.done) + 1]
        final = next((step for step in begun if step.is_final), None)
        # What was begun may have been done, whether it failed, was interrupted, or its process was
        # killed: another one does not know whether it was begun.
        is_certain = final is begun[-1] and final is not self._begun and self._checks is not None
        if final and not is_certain:
            raise self._failure(f"take back: {final}", "it may be done, and nothing takes it back")
        undone = []
        for step in reversed(begun):
            if not step.undo:
                continue
            try:
                actions.take_back(self._site, step)
            except Error as error:
                raise self._failure(f"take back: {step}", str(error)) from error
            undone.append(step)
        self._begun = None
        self._keep(attrs.evolve(self._journal, done=()))
        return tuple(undone)

    def _insist_on(self, lost: Lost) -> None:
        tried = f"see that {lost.primary} is out of reach still"
        try:
            found = why_not_lost(self._site, lost)
        except Error as error:
            raise self._failure(tried, str(error)) from error
        if found:
            raise self._failure(tried, found)

    def _go_on(self, on_progress: Callable[[StepProgress], None] | None) -> Result:
        while self.remaining:
            step, number = self.remaining[0], len(self._journal.done) + 1
            began_at = datetime.now(UTC)
            _tell(on_progress, step, number, len(self.steps), None)
            self._begun = step
            try:
                promotion = actions.perform(self._site, step)
            except Error as error:
                raise self._failure(str(step), str(error)) from error
            self._begun = None
            done = StepResult(step=step, began_at=began_at, ended_at=datetime.now(UTC))
            self._keep(self._journal.with_done(done, promotion))
            _tell(on_progress, step, number, len(self.steps), done.elapsed)
        return self._journal.result

    def _keep(self, journal: Journal) -> None:
        self._journal = journal
        if self._journal_file is not None:
            replace_file(self._journal_file, journal.to_json().encode())

    def _failure(self, step: str, found: str) -> PlanFailed:
        done = tuple(str(result.step) for result in self._journal.done)
        way_on = "put right what it says, and resume()"
        if self._journal_file is not None:
            way_on += f", from another process by the cluster's resume({str(self._journal_file)!r})"
        begun = self.steps[: len(done) + 1]
        final = [s for s in begun if s.is_final]
        backward = [f"{s.node}: {s.undo}" for s in reversed(begun) if s.undo]
        way_back = f"undo(), which does: {'; '.join(backward) or 'nothing'}"
        if final:
            way_back = (
                f"none after this: {final[0]}; never start the old primary as a primary again"
            )
        state = self._journal.state
        return PlanFailed(self.operation, step, found, done, state, way_on, way_back)

    def __str__(self) -> str:
        lines = [f"{self.operation}:"]
        for number, step in enumerate(self.steps, 1):
            mark = "done" if number <= len(self._journal.done) else "    "
            lines.append(f"  {mark} {number:>2}. {step}")
            lines.append(f"           {step.does}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        done = len(self._journal.done)
        return f"<{type(self).__name__} {self.operation!r}, {done} of {len(self.steps)} steps done>"


def _tell(
    on_progress: Callable[[StepProgress], None] | None,
    step: Step,
    number: int,
    count: int,
    elapsed: timedelta | None,
) -> None:
    if on_progress is not None:
        on_progress(StepProgress(step=step, number=number, count=count, elapsed=elapsed))
