"""The server that accepts writes during an operation that promotes a standby."""

from __future__ import annotations

from collections.abc import Sequence

from pgreplkit.plans.cluster.journal import WriteStates
from pgreplkit.plans.cluster.steps import Promote, Step, StopPrimary


def promotion_writes(steps: Sequence[Step]) -> WriteStates:
    """Describe which server accepts writes during each step; one step must be a promotion."""
    # By the kinds of steps: the operations differ in all else.
    promoted = next(n for n, step in enumerate(steps) if isinstance(step, Promote))
    stopped = next((n for n, step in enumerate(steps) if isinstance(step, StopPrimary)), None)
    return WriteStates(
        states=tuple(_state(steps, n, stopped, promoted) for n in range(len(steps) + 1)),
        outage=None if stopped is None else (stopped, promoted),
    )


def _state(steps: Sequence[Step], number: int, stopped: int | None, promoted: int) -> str:
    """Describe the state when a step was started, and may be done in part."""
    new = steps[promoted].node
    if number > promoted:
        return f"{new} accepts writes"
    # The process may have been killed after the request, and before the answer.
    if number == promoted:
        return f"{new} may accept writes already; if not, no server does"
    if stopped is None:
        return "no server accepts writes, because the primary is lost"
    old = steps[stopped].node
    if number < stopped:
        return f"{old} accepts writes, as before"
    if number == stopped:
        return f"{old} may be down already; if not, it accepts writes"
    return f"no server accepts writes: {old} is shut down, and {new} is a standby"
