"""The server that accepts writes during an operation that promotes a standby."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgreplkit.plans.cluster.journal import WriteStates
from pgreplkit.plans.cluster.steps import Promote, Step, StopPrimary


def promotion_writes(steps: Sequence[Step]) -> WriteStates:
    """Describe which server accepts writes during each step; one step must be a promotion."""
    promoted = next(n for n, step in enumerate(steps) if isinstance(step, Promote))
    stopped = next((n for n, step in enumerate(steps) if isinstance(step, StopPrimary)), None)
    outage = None if stopped is None else (stopped, promoted)
    return WriteStates(states=tuple(_states(steps, stopped, promoted)), outage=outage)


def _states(steps: Sequence[Step], stopped: int | None, promoted: int) -> Iterator[str]:
    new = steps[promoted].node
    for number in range(len(steps) + 1):
        if number > promoted:
            yield f"{new} accepts writes"
        elif number == promoted:
            yield f"{new} may accept writes already; if not, no server does"
        elif stopped is None:
            yield "no server accepts writes, because the primary is lost"
        elif number < stopped:
            yield f"{steps[stopped].node} accepts writes, as before"
        elif number == stopped:
            yield f"{steps[stopped].node} may be down already; if not, it accepts writes"
        else:
            old = steps[stopped].node
            yield f"no server accepts writes: {old} is shut down, and {new} is a standby"
