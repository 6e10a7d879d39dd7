"""Journal: how far an operation is, how to resume it, and how to undo it; stored as JSON."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from pgreplkit.catalog.server.replay import Promotion
from pgreplkit.errors import Error
from pgreplkit.plans.cluster.steps import Step, step_from
from pgreplkit.values.fieldtypes import has_types
from pgreplkit.values.finding import Finding
from pgreplkit.values.lsn import LSN
from pgreplkit.values.plain import JSONValue, plain
from pgreplkit.values.record import Record
from pgreplkit.values.text import wrapped

CLONING = "preparation by clone of"
REBUILT = "plan_resume() rebuilds a lost journal from the objects on both servers"
_UNCHANGED = "the operation does not change which servers accept writes"


@attrs.frozen(kw_only=True)
class StepResult(Record):
    """A finished step with its start and end times."""

    step: Step
    began_at: datetime
    ended_at: datetime
    refused_at: datetime | None = None
    """When a step that fences began to keep all writers waiting; None for other steps."""

    @property
    def elapsed(self) -> timedelta:
        """Duration of the step."""
        return self.ended_at - self.began_at


@attrs.frozen(kw_only=True)
class StepProgress(Record):
    """A step that starts, or has just finished."""

    step: Step
    number: int
    """Position of the step in the plan, counted from 1."""
    count: int
    """Number of steps in the plan."""
    elapsed: timedelta | None
    """Duration of the step; None when it starts."""

    def __str__(self) -> str:
        state = "…" if self.elapsed is None else f"done in {_seconds(self.elapsed)}"
        return "\n".join(wrapped(f"{self.number}/{self.count} {self.step} {state}", then="    "))


@attrs.frozen(kw_only=True)
class PlanResult(Record):
    """The result of an operation: its steps and their times.

    Times come from the clock of the machine that ran the operation.
    """

    operation: str
    steps: tuple[StepResult, ...]
    write_outage: timedelta | None = None
    """How long no server accepted writes: in a switchover, from the start of the primary's
    shutdown to the end of the promotion; in an upgrade, from the start of the attempt of the fence
    that stood, whose locks keep writers waiting, until ``redirect`` has returned. None if the
    operation stopped no writes itself."""
    promotion: Promotion | None = None
    """Timelines and switchpoint, if a standby was promoted."""
    lost_bytes: int | None = None
    """WAL that the lost primary is known to have had and the promoted standby lacks.

    This is a lower limit, from the positions that the standbys reported and the last one seen on
    the primary. None if no position is known, or if the operation cannot lose WAL."""

    @property
    def elapsed(self) -> timedelta:
        """Time from the start of the first step to the end of the last."""
        if not self.steps:
            return timedelta(0)
        # Pauses before a resume() count: the operation was not complete in that time.
        return self.steps[-1].ended_at - self.steps[0].began_at

    def __str__(self) -> str:
        lines = wrapped(f"{self.operation}: done in {_seconds(self.elapsed)}")
        for done in self.steps:
            lines += wrapped(str(done.step), first=f"  {_seconds(done.elapsed):>8}  ")
        if self.write_outage is not None:
            lines.append(f"  no server accepted writes for {_seconds(self.write_outage)}")
        if self.lost_bytes is not None:
            lines.append(
                f"  at least {self.lost_bytes} bytes of WAL are lost, and any WAL that the primary"
                " reported to no standby"
            )
        return "\n".join(lines)


def _seconds(time: timedelta) -> str:
    return f"{time.total_seconds():.2f} s"


@attrs.frozen(kw_only=True)
class LostPrimary:
    """The assumption of a failover: this primary is out of reach in each of these ways.

    It is verified again when the failover is resumed.
    """

    primary: str
    evidence: tuple[str, ...]
    standbys: tuple[str, ...]
    """Standbys that may stream from it; the candidate comes first."""


@attrs.frozen(kw_only=True)
class WriteStates:
    """The servers that accept writes during an operation; supplied when it is planned."""

    states: tuple[str, ...]
    """Description for each step, which may be done in part, and after the last step."""
    outage: tuple[int, int] | None = None
    """First and last step, counted from 0, between which no server accepts writes."""


@attrs.frozen(kw_only=True)
class Journal:
    """The steps of an operation, and how many of them are done."""

    operation: str
    steps: tuple[Step, ...]
    done: tuple[StepResult, ...] = ()
    writes: WriteStates | None = None
    """None if the operation does not change which servers accept writes."""
    promotion: Promotion | None = None
    lost_bytes: int | None = None
    lost_primary: LostPrimary | None = None
    undone: bool = False
    """Whether all of it was undone, so that its file may be overwritten."""
    databases: tuple[str, ...] = ()
    """System identifiers and names of the databases, if the steps have no names of servers."""
    fences: tuple[str, ...] = ()
    """Identities of the fences of these databases when an upgrade's operation was begun."""

    @property
    def servers(self) -> tuple[str, ...]:
        """Names of the servers that the operation acts on or relies on."""
        lost = self.lost_primary
        # A resumed failover asks them again, though no step acts on them.
        others = () if lost is None else (lost.primary, *lost.standbys)
        return tuple(dict.fromkeys([*(step.node for step in self.steps), *others]))

    @property
    def performer(self) -> str:
        """The kind of object that performs the operation: a cluster, a mesh or an upgrade."""
        # An upgrade and a mesh have a few steps of a cluster, too.
        return next((p for step in self.steps if (p := step.performer) != "cluster"), "cluster")

    def check_performer(self, performer: str) -> None:
        """Refuse to resume with another kind of object, which lacks the steps of the journal.

        Raises: ValueError.
        """
        if self.performer != performer:
            raise ValueError(
                f"could not resume the {self.operation}: it is an operation of"
                f" {_article(self.performer)}, not of {_article(performer)}; call plan_resume() of"
                f" the {self.performer}"
            )

    def check_servers(self, known: Collection[str], group: str) -> None:
        """Refuse to resume with a ``group`` (cluster or mesh) that lacks a server of the journal.

        Raises: ValueError.
        """
        self.check_performer(group)
        # The journal has names only: passwords and addresses are those of the group.
        if unknown := {*self.servers}.difference(known):
            raise ValueError(
                f"could not resume the {self.operation}: its journal names servers outside this"
                f" {group}: {', '.join(sorted(unknown))}; add them to it, or pass another journal"
            )

    def check_databases(self, databases: Sequence[str]) -> None:
        """Refuse to resume with other databases.

        Raises: ValueError.
        """
        if self.databases != (*databases,):
            raise ValueError(
                f"could not resume the {self.operation}: it is of the databases"
                f" {', '.join(self.databases)}, and these are {', '.join(databases)}; connect to"
                " those of the journal"
            )

    @property
    def is_rebuildable(self) -> bool:
        """Whether a lost journal can be created again from the objects on the servers."""
        return self.performer == "upgrade" and not self.operation.startswith(CLONING)

    @property
    def remaining(self) -> tuple[Step, ...]:
        """Steps that are not done."""
        return self.steps[len(self.done) :]

    @property
    def is_unfinished(self) -> bool:
        """Whether the plan was begun, and neither completed nor undone."""
        return bool(self.remaining) and not self.undone

    @property
    def loss_to_verify(self) -> LostPrimary | None:
        """The lost primary that must still be lost before the operation is resumed.

        None once the promotion is done: then it is too late to find out that the primary is back.
        """
        return self.lost_primary if any(step.is_final for step in self.remaining) else None

    @property
    def begun(self) -> tuple[Step, ...]:
        """Steps that are done, and the next one: it may be done in part.

        A process that was killed leaves no trace of the step that it was in.
        """
        return self.steps[: len(self.done) + 1]

    @property
    def state(self) -> str:
        """Description of the server that accepts writes, after the next step was started."""
        return _UNCHANGED if self.writes is None else self.writes.states[len(self.done)]

    @property
    def result(self) -> PlanResult:
        """The result of the finished steps."""
        return PlanResult(
            operation=self.operation,
            steps=self.done,
            write_outage=self._write_outage,
            promotion=self.promotion,
            lost_bytes=self.lost_bytes,
        )

    @property
    def _write_outage(self) -> timedelta | None:
        if self.writes is None or self.writes.outage is None:
            return None
        first, last = self.writes.outage
        # Not over yet: its duration is not known.
        if last >= len(self.done):
            return None
        begin = self.done[first]
        # The shutdown may refuse writes from its first moment on. Between the attempts of a fence,
        # clients write.
        return self.done[last].ended_at - (begin.refused_at or begin.began_at)

    def with_done(self, done: StepResult, promotion: Promotion | None) -> "Journal":
        """Return the journal after one more step."""
        return attrs.evolve(self, done=(*self.done, done), promotion=promotion or self.promotion)

    def with_next(self, step: Step) -> "Journal":
        """Return the journal with another next step."""
        at = len(self.done)
        return attrs.evolve(self, steps=(*self.steps[:at], step, *self.steps[at + 1 :]))

    def final_step(self, *, next_is_begun: bool) -> Step | None:
        """Return the step that makes it impossible to undo the operation, or may have done so.

        ``next_is_begun`` says whether the next step may have been started.
        """
        begun = self.begun if next_is_begun else self.steps[: len(self.done)]
        return next((step for step in begun if step.is_final), None)

    @property
    def to_undo(self) -> tuple[Step, ...]:
        """Steps that ``undo`` reverts, in that order."""
        return tuple(step for _, step in self.undoable)

    @property
    def undoable(self) -> tuple[tuple[int, Step], ...]:
        """The same steps, each with the number of steps before it."""
        begun = [*enumerate(self.begun)]
        return tuple((before, step) for before, step in reversed(begun) if step.undo)

    def failure(
        self,
        step: str,
        found: str,
        journal_file: str | None,
        *,
        way_on: str = "",
        next_is_begun: bool = True,
    ) -> "PlanFailed":
        """Return the error for a failed step: the state, how to continue, how to go back.

        ``way_on`` says how to continue where the step cannot be repeated, and ``next_is_begun``
        whether the next step may have been started.
        """
        is_resumable, way_on = not way_on, way_on or "fix the cause, then call resume()"
        if journal_file is not None and is_resumable:
            # A server that was restarted has closed the connections that an upgrade was given.
            reconnected = "with new connections or " if self.performer == "upgrade" else ""
            way_on += f", or {reconnected}from another process plan_resume() with the journal"
            way_on += f" {journal_file!r}"
            if self.is_rebuildable:
                way_on += f"; if that file is lost, pass another path as journal=: {REBUILT}"
        # What undo() would do is said before the user decides.
        backward = "; ".join(f"{undone.node}: {undone.undo}" for undone in self.to_undo)
        way_back = f"undo(), which does: {backward or 'nothing'}"
        final = self.final_step(next_is_begun=next_is_begun)
        if final is not None:
            way_back = f"none after this: {final}" + (f"; {final.caution}" if final.caution else "")
        # Texts only: an error can be pickled, and outlives the plan.
        done = tuple(str(result.step) for result in self.done)
        return PlanFailed(self.operation, step, found, done, self.state, way_on, way_back)

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the journal as JSON types; it has names and positions, no connection strings."""
        return {
            "operation": self.operation,
            "steps": [step.to_dict() for step in self.steps],
            "done": [_times(done) for done in self.done],
            "writes": plain(self.writes),
            "promotion": plain(self.promotion),
            "lost_bytes": self.lost_bytes,
            "lost_primary": plain(self.lost_primary),
            "undone": self.undone,
            "databases": [*self.databases],
            "fences": [*self.fences],
        }

    def __str__(self) -> str:
        lines = wrapped(f"{self.operation}:")
        for number, step in enumerate(self.steps, 1):
            mark = "done" if number <= len(self.done) else ""
            lines += wrapped(str(step), first=f"  {mark:<4} {number:>2}. ")
            lines += wrapped(step.action, first=" " * 11)
        return "\n".join(lines)

    def to_json(self) -> str:
        """Return the journal as JSON."""
        # Indented: in an emergency someone may read the file itself.
        return json.dumps(self.to_dict(), indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Journal":
        """Return the journal that ``to_json`` wrote.

        Raises:
            ValueError: If the text is not a journal.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"could not read the journal: it is not JSON: {error}") from error
        return cls.from_dict(content)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Journal":
        """Return the journal that ``to_dict`` described.

        Raises:
            ValueError: If the content is not a journal.
        """
        try:
            steps = tuple(step_from(step) for step in content["steps"])
            journal = cls(
                operation=content["operation"],
                steps=steps,
                done=_done(steps, content["done"]),
                writes=_writes(content["writes"], len(steps)),
                promotion=_promotion(content["promotion"]),
                lost_bytes=content["lost_bytes"],
                lost_primary=_lost_primary(content["lost_primary"]),
                undone=content["undone"],
                databases=tuple(content["databases"]),
                fences=tuple(content["fences"]),
            )
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise ValueError(
                f"could not read the journal: {error}; the file is not an operation's journal of"
                " this version of pgreplkit"
            ) from error
        # What is left out or read as something else may be how far the operation is.
        if journal.to_dict() != content or not has_types(journal):
            raise ValueError(
                "could not read the journal: it was edited, or is of another version of pgreplkit"
            )
        return journal


def _article(performer: str) -> str:
    return f"an {performer}" if performer == "upgrade" else f"a {performer}"


def _times(done: StepResult) -> list[JSONValue]:
    times = (done.began_at, done.ended_at, done.refused_at)
    return [time.isoformat() for time in times if time is not None]


def _done(steps: Sequence[Step], times: Sequence[Sequence[str]]) -> tuple[StepResult, ...]:
    results = []
    # A journal has times only for the steps that are done.
    for step, texts in zip(steps, times, strict=False):
        began_at, ended_at, *refused_at = map(_time, texts)
        results.append(
            StepResult(
                step=step,
                began_at=began_at,
                ended_at=ended_at,
                refused_at=refused_at[0] if refused_at else None,
            )
        )
    return tuple(results)


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise TypeError(f"a time without time zone: {text}")
    return time


def _writes(content: Mapping[str, Any] | None, steps: int) -> WriteStates | None:
    if content is None:
        return None
    states = tuple(content["states"])
    # One for each step, and one after the last.
    if len(states) != steps + 1:
        raise TypeError(f"{len(states)} states for {steps} steps")
    outage = None if content["outage"] is None else tuple(content["outage"])
    if outage is not None and not 0 <= outage[0] <= outage[1] < steps:
        raise TypeError(f"an outage from step {outage[0]} to {outage[1]} of {steps}")
    return WriteStates(states=states, outage=outage)


def _promotion(content: Mapping[str, Any] | None) -> Promotion | None:
    if content is None:
        return None
    return Promotion(
        old_timeline=content["old_timeline"],
        new_timeline=content["new_timeline"],
        switchpoint=LSN(content["switchpoint"]),
    )


def _lost_primary(content: Mapping[str, Any] | None) -> LostPrimary | None:
    if content is None:
        return None
    return LostPrimary(
        primary=content["primary"],
        evidence=tuple(content["evidence"]),
        standbys=tuple(content["standbys"]),
    )


class PlanRefused(Error):
    """An operation that was not started, because a check found an obstacle.

    Attributes:
        operation: the operation.
        findings: every critical finding.
    """

    operation: str
    findings: tuple[Finding, ...]

    def __init__(self, operation: str, findings: tuple[Finding, ...]) -> None:
        super().__init__(operation, findings)
        self.operation, self.findings = operation, findings

    def __str__(self) -> str:
        lines = [
            f"{f.check}: {f.found}; needed: {f.needed}{f'; {f.remedy}' if f.remedy else ''}"
            for f in self.findings
        ]
        return "\n  ".join([f"could not start the {self.operation}; nothing was changed:", *lines])


class PlanFailed(Error):
    """An operation that stopped at one of its steps.

    Attributes:
        operation: the operation.
        step: the step that failed.
        found: the reason.
        done: the steps that were done before, in order.
        state: the server that accepts writes now, as far as the steps show.
        way_on: how to continue.
        way_back: how to go back, or why that is impossible.
    """

    operation: str
    step: str
    found: str
    done: tuple[str, ...]
    state: str
    way_on: str
    way_back: str

    def __init__(
        self,
        operation: str,
        step: str,
        found: str,
        done: tuple[str, ...],
        state: str,
        way_on: str,
        way_back: str,
    ) -> None:
        super().__init__(operation, step, found, done, state, way_on, way_back)
        self.operation, self.step, self.found = operation, step, found
        self.done, self.state = done, state
        self.way_on, self.way_back = way_on, way_back

    def __str__(self) -> str:
        before = "; ".join(self.done) or "nothing"
        return (
            f"{self.operation} stopped at: {self.step}: {self.found}\n"
            f"  done before: {before}\n  state: {self.state}\n"
            f"  way on: {self.way_on}\n  way back: {self.way_back}"
        )
