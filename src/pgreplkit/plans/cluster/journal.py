"""Journal: how far an operation is, as data from which it can be resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from pgreplkit.catalog.server.replay import Promotion
from pgreplkit.errors import Error
from pgreplkit.plans.cluster.steps import Promote, Step, StopPrimary, step_from
from pgreplkit.values.finding import Finding
from pgreplkit.values.lsn import LSN
from pgreplkit.values.plain import Plain, plain


@attrs.frozen(kw_only=True)
class StepResult:
    """A step that was done, and when."""

    step: Step
    began_at: datetime
    ended_at: datetime

    @property
    def elapsed(self) -> timedelta:
        """How long it took."""
        return self.ended_at - self.began_at


@attrs.frozen(kw_only=True)
class StepProgress:
    """A step that begins, or that was done just now."""

    step: Step
    number: int
    """Which it is, from 1 on."""
    count: int
    """How many there are."""
    elapsed: timedelta | None
    """How long it took; None when it begins."""

    def __str__(self) -> str:
        state = "…" if self.elapsed is None else f"done in {_seconds(self.elapsed)}"
        return f"{self.number}/{self.count} {self.step} {state}"


@attrs.frozen(kw_only=True)
class Result:
    """An operation that was carried out: its steps with their times.

    Times are by the clock of the machine that ran it.
    """

    _also_plain = ("elapsed", "write_outage")

    operation: str
    steps: tuple[StepResult, ...]
    promotion: Promotion | None = None
    """Timelines and switchpoint, when a standby was promoted."""
    lost_bytes: int | None = None
    """How much WAL the lost primary is known to have had that the promoted standby has not, from
    what the standbys were told and from when it was seen: it may have been more. None when nothing
    is known, or nothing can be lost."""

    @property
    def elapsed(self) -> timedelta:
        """From the begin of its first step to the end of its last."""
        if not self.steps:
            return timedelta(0)
        return self.steps[-1].ended_at - self.steps[0].began_at

    @property
    def write_outage(self) -> timedelta | None:
        """How long nobody could write: from the primary's stop to the end of the promotion.

        None when the operation did not do both.
        """
        stops = [done for done in self.steps if isinstance(done.step, StopPrimary)]
        promotions = [done for done in self.steps if isinstance(done.step, Promote)]
        if not stops or not promotions:
            return None
        return promotions[-1].ended_at - stops[0].began_at

    def to_dict(self) -> dict[str, Plain]:
        """All of it as JSON knows it."""
        return {
            "operation": self.operation,
            "steps": [
                {
                    "step": str(done.step),
                    "began_at": plain(done.began_at),
                    "elapsed": plain(done.elapsed),
                }
                for done in self.steps
            ],
            "elapsed": plain(self.elapsed),
            "write_outage": plain(self.write_outage),
            "promotion": plain(self.promotion),
            "lost_bytes": self.lost_bytes,
        }

    def __str__(self) -> str:
        lines = [f"{self.operation}: done in {_seconds(self.elapsed)}"]
        lines += [f"  {_seconds(done.elapsed):>8}  {done.step}" for done in self.steps]
        if self.write_outage is not None:
            lines.append(f"  nobody could write for {_seconds(self.write_outage)}")
        if self.lost_bytes is not None:
            lines.append(
                f"  {self.lost_bytes} bytes of WAL are known to be lost, and with them whatever no"
                " standby was told of"
            )
        return "\n".join(lines)


def _seconds(time: timedelta) -> str:
    return f"{time.total_seconds():.2f} s"


@attrs.frozen(kw_only=True)
class Lost:
    """What a failover rests on: which primary is out of reach, and in which ways."""

    primary: str
    proofs: tuple[str, ...]
    standbys: tuple[str, ...]
    """Who may stream from it, the one to be promoted first."""


@attrs.frozen(kw_only=True)
class Journal:
    """An operation's steps, and those of them that are done."""

    operation: str
    steps: tuple[Step, ...]
    done: tuple[StepResult, ...] = ()
    promotion: Promotion | None = None
    lost_bytes: int | None = None
    lost: Lost | None = None

    @property
    def servers(self) -> tuple[str, ...]:
        """The names of all that it is about."""
        told = () if self.lost is None else (self.lost.primary, *self.lost.standbys)
        return tuple(dict.fromkeys([*(step.node for step in self.steps), *told]))

    @property
    def remaining(self) -> tuple[Step, ...]:
        """The steps that are still to do."""
        return self.steps[len(self.done) :]

    @property
    def state(self) -> str:
        """Who can write, when the next step was begun and may be done in part."""
        promotion = next((step for step in self.steps if isinstance(step, Promote)), None)
        if promotion is None:
            return "who can write is not changed by it"
        new, done = promotion.node, {type(result.step) for result in self.done}
        if Promote in done:
            return f"{new} writes"
        begun = self.remaining[0]
        if begun is promotion:
            return f"{new} may write already; if not, nobody can"
        stop = next((step for step in self.steps if isinstance(step, StopPrimary)), None)
        if stop is None:
            return "nobody can write, as when the primary was lost"
        if begun is stop:
            return f"{stop.node} may be down already; if not, it writes"
        if StopPrimary in done:
            return f"nobody can write: {stop.node} is shut down, and {new} is a standby"
        return f"{stop.node} writes, as before"

    @property
    def result(self) -> Result:
        """What was done so far."""
        return Result(
            operation=self.operation,
            steps=self.done,
            promotion=self.promotion,
            lost_bytes=self.lost_bytes,
        )

    def with_done(self, done: StepResult, promotion: Promotion | None) -> Journal:
        """The journal when that step is done too."""
        return attrs.evolve(self, done=(*self.done, done), promotion=promotion or self.promotion)

    def to_json(self) -> str:
        """As text; it holds names and positions, and no connection strings."""
        told: dict[str, Plain] = {
            "operation": self.operation,
            "steps": [step.to_dict() for step in self.steps],
            "done": [[done.began_at.isoformat(), done.ended_at.isoformat()] for done in self.done],
            "promotion": plain(self.promotion),
            "lost_bytes": self.lost_bytes,
            "lost": plain(self.lost),
        }
        return json.dumps(told, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Journal:
        """The journal in a text.

        Raises: ValueError when it is none.
        """
        told: Mapping[str, Any] = json.loads(text)
        try:
            steps = tuple(step_from(step) for step in told["steps"])
            return cls(
                operation=told["operation"],
                steps=steps,
                done=_done(steps, told["done"]),
                promotion=_promotion(told["promotion"]),
                lost_bytes=told["lost_bytes"],
                lost=_lost(told["lost"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no journal of an operation: {error}") from error


def _done(steps: Sequence[Step], times: Sequence[Sequence[str]]) -> tuple[StepResult, ...]:
    return tuple(
        StepResult(
            step=step,
            began_at=datetime.fromisoformat(began_at),
            ended_at=datetime.fromisoformat(ended_at),
        )
        for step, (began_at, ended_at) in zip(steps, times, strict=False)
    )


def _promotion(told: Mapping[str, Any] | None) -> Promotion | None:
    if told is None:
        return None
    return Promotion(
        old_timeline=told["old_timeline"],
        new_timeline=told["new_timeline"],
        switchpoint=LSN(told["switchpoint"]),
    )


def _lost(told: Mapping[str, Any] | None) -> Lost | None:
    if told is None:
        return None
    return Lost(
        primary=told["primary"], proofs=tuple(told["proofs"]), standbys=tuple(told["standbys"])
    )


class PlanRefused(Error):
    """An operation that was not begun, because something that it needs is not so.

    Attributes:
        operation: what was to be done.
        findings: all that is in its way.
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
        return "\n  ".join([f"{self.operation} was not begun, and nothing is changed:", *lines])


class PlanFailed(Error):
    """An operation that stopped between two of its steps.

    Attributes:
        operation: what was to be done.
        step: the step that failed.
        found: why.
        done: the steps that were done before, in their order.
        state: who can write now, as far as the steps tell.
        way_on: how to go on.
        way_back: how to get back, or why there is no way back.
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
