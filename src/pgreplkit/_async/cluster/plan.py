"""AsyncPlan: an operation that can be shown, checked, run, resumed, and undone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from datetime import UTC, datetime, timedelta
from logging import getLogger
from pathlib import Path
from typing import Protocol

import attrs

from pgreplkit._hooks import html_of
from pgreplkit._text import counted, one_line
from pgreplkit.catalog.server.replay import Promotion
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.failures import translate_errors
from pgreplkit.errors import ConnectionFailed, Error, HostFileError, ServerError, UpgradeActive
from pgreplkit.errors.base import OperationError
from pgreplkit.host.journalfile import journal_at, write_journal
from pgreplkit.plans.cluster.journal import (
    Journal,
    LostPrimary,
    PlanFailed,
    PlanRefused,
    PlanResult,
    StepProgress,
    StepResult,
)
from pgreplkit.plans.cluster.rewind import RewindFailed
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.server.readiness import Readiness
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.functions import insist_on_function
from pgreplkit.values.madeby import made_by
from pgreplkit.values.plain import JSONValue
from pgreplkit.values.rows import Rows

_LOGGER = getLogger("pgreplkit.plans")
_VERIFY = "verify the servers"
_EVIDENCE_LASTS = 5.0
"""Seconds after which a lost primary may have started again. A check takes longer if its host does
not answer, so it is not repeated where the steps before the promotion were quick."""


class AsyncChecks(Protocol):
    """The checks of an operation; they change nothing."""

    async def findings(self) -> list[Finding]:
        """Return one finding for each check."""
        ...


class AsyncActor(Protocol):
    """Performs the steps of an operation."""

    async def perform(self, step: Step) -> Promotion | datetime | None:
        """Perform one step, which may be done in part or completely already.

        Return what a promotion reports, or when a fence began to refuse writes.
        """
        ...

    async def take_back(self, step: Step) -> None:
        """Undo one step, which may be done completely, in part or not at all."""
        ...

    async def missing_evidence(self, lost: LostPrimary) -> str:
        """Return the missing evidence that a primary is lost; empty if none is missing."""
        ...


class AsyncPlanLock(Protocol):
    """Keeps other processes from running the operation, where no journal file reaches them."""

    def held(self, operation: str, *, resumes: bool) -> AbstractAsyncContextManager[None]:
        """Hold it during the block."""
        ...

    async def verify(self, operation: str, node: str) -> None:
        """Insist that it is held, before a step changes something on a node."""
        ...

    async def marked(self, journal: Journal) -> Journal:
        """Return a journal that begins, with what shows later whether it is stale."""
        ...

    async def stale_reason(self, journal: Journal, *, undoes: bool) -> str:
        """Return what shows that another process has continued it since; empty if nothing."""
        ...

    async def insist_on_state(self, operation: str, journal: Journal) -> None:
        """Insist that the servers are still as the finished steps have left them."""
        ...


class AsyncLook(Protocol):
    """A look at what exists before a step, such as objects that undo leaves."""

    async def __call__(self, step: Step) -> Step:
        """Return the step with it."""
        ...


@made_by("a method such as cluster.plan_switchover()")
class AsyncPlan:
    """An operation on a cluster: its steps, and how many of them are done.

    Planning and ``check`` change nothing on any server. Plans are returned by methods of a cluster,
    such as ``plan_switchover``. With a journal file, another process can resume the operation.
    """

    def __init__(
        self,
        actor: AsyncActor,
        journal: Journal,
        checks: AsyncChecks | None,
        journal_file: Path | None,
        lock: AsyncPlanLock | None = None,
        look: AsyncLook | None = None,
    ) -> None:
        self._actor = actor
        self._lock = lock
        self._look = look
        self._journal = journal
        # None for a plan that was read from a journal file: another process began it.
        self._checks = checks
        # A hook may change the working directory.
        self._journal_file = None if journal_file is None else journal_file.absolute()
        self._version = _version_of(self._journal_file)
        """The version of the journal file that this object knows."""
        self._begun: Step | None = None
        self._began_at: datetime | None = None
        """The start of the first attempt at the next step; None before it."""
        self._fresh = Backoff(0)
        """The time in which the evidence that a primary is lost is not collected again."""

    @property
    def operation(self) -> str:
        """Description of the operation."""
        return self._journal.operation

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, in order."""
        return self._journal.steps

    @property
    def remaining(self) -> tuple[Step, ...]:
        """Steps that are not done."""
        return self._journal.remaining

    @property
    def _is_started(self) -> bool:
        # Another process may have begun the first step of a journal without completing it.
        return self._checks is None or bool(self._journal.done or self._begun)

    async def check(self) -> Readiness:
        """Check everything that the operation needs; nothing is changed on any server.

        Raises:
            InsufficientPrivilege: If a role lacks a privilege.
            ConnectionFailed: If a server cannot be reached.
            ControlFailed: If a host cannot be reached.
        """
        findings = [] if self._checks is None else await self._checks.findings()
        return Readiness(findings=tuple(findings))

    async def run(
        self,
        on_progress: Callable[[StepProgress], None] | None = None,
        *,
        force: bool = False,
    ) -> PlanResult:
        """Run the checks, then perform the steps in order.

        ``on_progress`` is called when a step starts and when it is done. If it raises an exception,
        or a step is cancelled or interrupted, a note of the exception says which server accepts
        writes, as PlanFailed does.

        Raises:
            PlanRefused: If a finding is critical, unless ``force`` is set; nothing is changed then.
            PlanFailed: If a step fails, or the lost primary of a failover answers again, with the
                ways to continue and to go back.
            ValueError: If the operation was already started, or the journal file belongs to an
                unfinished operation.
            HostFileError: If the journal file cannot be read or written; nothing is changed then.
            UpgradeActive: If another process runs a plan of the same upgrade.
        """
        checked_flags(force=force)
        _insist_on_progress(on_progress)
        if self._journal.done or self._begun:
            raise ValueError(
                f"could not run the {self.operation}: it was already started; call resume()"
            )
        with self._stated():
            async with self._alone(resumes=False):
                return await self._run(on_progress, force=force)

    async def _run(
        self, on_progress: Callable[[StepProgress], None] | None, *, force: bool
    ) -> PlanResult:
        kept = self._journal_file
        # Overwriting it would lose what is known about that operation.
        before = journal_at(kept, remedy="make it readable, remove it or use another path")
        if before is not None and before.is_unfinished:
            raise ValueError(
                f"could not run the {self.operation}: {kept} belongs to an unfinished operation:"
                f" {before.operation}; call plan_resume(), and then resume() or undo(), which may"
                " be impossible without this file"
            )
        self._version = _version_of(kept)
        readiness = await self.check()
        if not readiness.is_ready and not force:
            critical = [f for f in readiness.findings if f.severity is Severity.CRITICAL]
            checks = ", ".join(finding.check for finding in critical)
            _LOGGER.info("%s: refused because of %s", self.operation, checks)
            raise PlanRefused(self.operation, tuple(critical))
        # Another process may have begun an operation with the same file during the checks.
        self._insist_on_version()
        # A forced failover ignores the evidence, and so does its resume().
        lost = self._journal.lost_primary if readiness.is_ready else None
        journal = self._journal if self._lock is None else await self._lock.marked(self._journal)
        self._keep(attrs.evolve(journal, lost_primary=lost, undone=False))
        self._fresh = Backoff(_EVIDENCE_LASTS)
        return await self._continue(on_progress)

    async def resume(self, on_progress: Callable[[StepProgress], None] | None = None) -> PlanResult:
        """Continue with the step that failed or was interrupted.

        Finished steps are not repeated. A failover first checks again that the primary is out of
        reach.

        Raises:
            PlanFailed: If a step fails, someone has taken back a finished one of an upgrade, or the
                lost primary of a failover answers again.
            ServerError: If another process has continued an upgrade since.
            ValueError: If the operation was not started, or was undone.
            HostFileError: If another process has continued it, or its journal cannot be written.
            UpgradeActive: If another process runs a plan of the same upgrade.
        """
        _insist_on_progress(on_progress)
        if not self._is_started:
            # Continuing from here would skip the checks of run(), which may just have refused it.
            raise ValueError(
                f"could not resume the {self.operation}: it was not started; call run()"
            )
        with self._stated():
            async with self._alone(resumes=True):
                return await self._resume(on_progress)

    async def _resume(self, on_progress: Callable[[StepProgress], None] | None) -> PlanResult:
        lost = self._journal.loss_to_verify
        if lost is not None:
            await self._insist_on(lost)
        if self._journal.undone or self._version is None:
            self._insist_on_version()
            # Before a step: a rebuilt journal has no file yet, and may have no place for one.
            self._keep(attrs.evolve(self._journal, undone=False))
        if self._begun is None and self._journal.done:
            # Another process may have begun the next step as soon as the last one was done.
            self._began_at = self._journal.done[-1].ended_at
        return await self._continue(on_progress)

    async def undo(self) -> Rows[Step]:
        """Undo the steps that were done, the last one first, and return the steps undone.

        Raises:
            PlanFailed: If there is no way back any longer, or undoing a step fails.
            ServerError: If another process has continued an upgrade since.
            HostFileError: If all steps are undone and the journal file cannot say so; call undo()
                again. Or if another process has continued the operation.
            UpgradeActive: If another process runs a plan of the same upgrade.
        """
        # A slot of the same name, created later by another program, is not ours to drop.
        if not self._is_started:
            return Rows()
        with self._stated():
            async with self._alone(resumes=True, undoes=True):
                return await self._undo()

    async def _undo(self) -> Rows[Step]:
        final = self._journal.final_step(next_is_begun=self._next_is_begun)
        if final is not None:
            raise self._failure(f"undo: {final}", "it may be done, and cannot be undone")
        undone = Rows[Step]()
        for before, step in self._journal.undoable:
            self._insist_on_version()
            with self._reported(f"undo: {step}"), translate_errors(self._act):
                await self._verify_lock(step)
                # Before the step: a process that is killed while it undoes it, or a full disk, must
                # not leave a journal that says that an undone step is done.
                self._keep(attrs.evolve(self._journal, done=self._journal.done[:before]))
                self._begun, self._began_at = step, None
                await self._actor.take_back(step)
            undone.append(step)
            _LOGGER.info("%s: undone: %s", self.operation, step)
        self._insist_on_version()
        # Another run looks again.
        steps = tuple(step.unbegun() for step in self.steps)
        self._keep(attrs.evolve(self._journal, steps=steps, done=(), undone=True))
        self._begun = None
        return undone

    @property
    def _next_is_begun(self) -> bool:
        """Whether the next step may have been started.

        That is known only to the process that ran the plan: in another process, the next step of
        the journal may have been started by the one that was killed.
        """
        remaining = self.remaining
        return self._checks is None or (bool(remaining) and self._begun is remaining[0])

    @asynccontextmanager
    async def _alone(self, *, resumes: bool, undoes: bool = False) -> AsyncIterator[None]:
        """Keep other processes away during the block, and refuse a stale journal."""
        if self._lock is None:
            yield
            return
        async with AsyncExitStack() as stack:
            with self._verified(resumes=resumes):
                await stack.enter_async_context(self._lock.held(self._act, resumes=resumes))
                found = ""
                if resumes:
                    found = await self._lock.stale_reason(self._journal, undoes=undoes)
            if found:
                raise ServerError(
                    self._act,
                    found,
                    remedy="read the status() with the journal of that process, or with another"
                    " path as journal= where no file exists; then resume its plan with"
                    " plan_resume(), or plan the next operation",
                )
            with self._verified(resumes=resumes):
                if resumes and not undoes:
                    await self._lock.insist_on_state(self._act, self._journal)
            yield

    @contextmanager
    def _verified(self, *, resumes: bool) -> Iterator[None]:
        """Raise what keeps a plan from being continued as PlanFailed, which says its state."""
        try:
            yield
        except ServerError as error:
            # Nothing was changed yet, or the other process knows the state.
            if not resumes or isinstance(error, UpgradeActive):
                raise
            if isinstance(error, ConnectionFailed):
                raise self._failure(_VERIFY, str(error)) from error
            raise self._failure(_VERIFY, error.found, way_on=error.remedy) from error

    async def _verify_lock(self, step: Step) -> None:
        if self._lock is not None:
            await self._lock.verify(self._act, step.node)

    @property
    def _act(self) -> str:
        return f"continue the {self.operation}"

    async def _insist_on(self, lost: LostPrimary) -> None:
        step = f"check that {lost.primary} is still out of reach"
        with self._reported(step):
            found = await self._actor.missing_evidence(lost)
        if found:
            raise self._failure(step, found)
        self._fresh = Backoff(_EVIDENCE_LASTS)

    async def _continue(self, on_progress: Callable[[StepProgress], None] | None) -> PlanResult:
        while self.remaining:
            self._insist_on_version()
            step, number = self.remaining[0], len(self._journal.done) + 1
            lost = self._journal.loss_to_verify
            # The replay before the promotion may take minutes.
            if lost is not None and step.is_final and self._fresh.is_over:
                await self._insist_on(lost)
            # A step that is repeated counts from its first attempt on: a shutdown that failed may
            # have ended all writes.
            began_at = self._began_at = self._began_at or datetime.now(UTC)
            where = f"{self.operation}, step {number} of {len(self.steps)}"
            _LOGGER.info("%s begins: %s", where, step)
            with self._reported(str(step)):
                _report(on_progress, step, number, len(self.steps), None)
            self._begun = step
            # A redirect may have closed a connection.
            with self._reported(str(step)), translate_errors(self._act):
                await self._verify_lock(step)
                step = await self._looked_at(step)
                outcome = await self._actor.perform(step)
            done = StepResult(
                step=step,
                began_at=began_at,
                ended_at=datetime.now(UTC),
                refused_at=outcome if isinstance(outcome, datetime) else None,
            )
            promotion = outcome if isinstance(outcome, Promotion) else None
            self._insist_on_version()
            # After each step: a process that is killed repeats at most one, which is idempotent.
            # The same holds if this fails: the step counts as done when the journal says so.
            with self._reported(str(step)):
                self._keep(self._journal.with_done(done, promotion))
            self._begun = self._began_at = None
            _LOGGER.info("%s is done after %.1f s", where, done.elapsed.total_seconds())
            with self._reported(str(step)):
                _report(on_progress, step, number, len(self.steps), done.elapsed)
        return self._journal.result

    async def _looked_at(self, step: Step) -> Step:
        """Keep what exists before a step that was not begun; return the step."""
        looked_at = step if self._look is None else await self._look(step)
        if looked_at != step:
            self._keep(self._journal.with_next(looked_at))
            self._begun = looked_at
        return looked_at

    def _keep(self, journal: Journal) -> None:
        if self._journal_file is not None:
            write_journal(self._journal_file, journal)
            self._version = _version_of(self._journal_file)
        self._journal = journal

    def _insist_on_version(self) -> None:
        """Refuse to continue if another process has continued the operation."""
        file = self._journal_file
        if _version_of(file) in (None, self._version):
            return
        raise HostFileError(
            self._act,
            f"its journal {str(file)!r} was written by another process or plan",
            remedy="wait until that has ended, and read the journal again; if it is of another"
            " operation, move it to another path, and call resume() or undo() of this plan",
        )

    @contextmanager
    def _stated(self) -> Iterator[None]:
        """Add the finished steps to an error that stops the plan, as PlanFailed has them.

        Which server accepts writes is known only until then: such an error comes if another process
        runs the operation, or has continued it.
        """
        try:
            yield
        except OperationError as error:
            if self._is_started:
                done = "; ".join(str(result.step) for result in self._journal.done) or "nothing"
                error.found += f"; done here before: {done}; state then: {self._journal.state}"
            raise

    @contextmanager
    def _reported(self, step: str) -> Iterator[None]:
        """Raise a failure in the block as PlanFailed, which says which server accepts writes."""
        try:
            yield
        except RewindFailed as error:
            # The data directory is half written: repeating the step cannot help.
            raise self._failure(step, str(error), way_on=error.remedy) from error
        except Error as error:
            raise self._failure(step, str(error)) from error
        except BaseException as error:
            # Such as a cancellation, which must stay one.
            error.add_note(str(self._failure(step, f"interrupted by {type(error).__name__}")))
            raise

    def _failure(self, step: str, found: str, *, way_on: str = "") -> PlanFailed:
        state = self._journal.state
        _LOGGER.warning("%s: failed in %s: %s; %s", self.operation, step, one_line(found), state)
        file = None if self._journal_file is None else str(self._journal_file)
        return self._journal.failure(
            step, found, file, way_on=way_on, next_is_begun=self._next_is_begun
        )

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the steps, and the times of those that are done, as JSON types.

        This is the content of the journal file, from which ``Cluster.plan_resume`` continues.
        """
        return self._journal.to_dict()

    def __str__(self) -> str:
        return str(self._journal)

    def _repr_html_(self) -> str:
        return html_of(self._journal)

    def __repr__(self) -> str:
        done = len(self._journal.done)
        steps = counted(len(self.steps), "step")
        return f"<{type(self).__name__} {self.operation!r}, {done} of {steps} done>"


def _version_of(file: Path | None) -> tuple[int, int] | None:
    """Return a key that differs once the file is replaced; None if it cannot be read."""
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _insist_on_progress(on_progress: object) -> None:
    """Raise TypeError for what cannot be called, before it stops an operation in the middle."""
    if on_progress is not None:
        insist_on_function(on_progress, "on_progress", takes=1)


def _report(
    on_progress: Callable[[StepProgress], None] | None,
    step: Step,
    number: int,
    count: int,
    elapsed: timedelta | None,
) -> None:
    if on_progress is not None:
        on_progress(StepProgress(step=step, number=number, count=count, elapsed=elapsed))
