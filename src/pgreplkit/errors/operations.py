"""What keeps an operation on a cluster from being carried out."""

from __future__ import annotations

from pgreplkit.errors.base import Error

# Importing typing would cost more than all of the errors.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from pgreplkit.values.finding import Finding


class ControlFailed(Error):
    """A server's host did not do what it was told: a program failed, or a file is out of reach.

    Attributes:
        tried: what was to be done.
        found: what the program said.
    """

    __module__ = "pgreplkit"

    tried: str
    found: str

    def __init__(self, tried: str, found: str) -> None:
        super().__init__(tried, found)
        self.tried, self.found = tried, found

    def __str__(self) -> str:
        return f"{self.tried}: {self.found}"


class PlanRefused(Error):
    """An operation that was not begun, because something that it needs is not so.

    Attributes:
        operation: what was to be done.
        findings: all that is in its way.
    """

    __module__ = "pgreplkit"

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

    __module__ = "pgreplkit"

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
