"""opened: the sessions that a run of an applier opens, none of them after its end."""

from __future__ import annotations

from typing import TypeVar

from pgreplkit._async._io import Call, Closable, TaskGroup, abandon
from pgreplkit.apply.goal import ApplyGoal
from pgreplkit.driver.conninfo import address

S = TypeVar("S", bound=Closable)

_LOOKS_EVERY = 0.1
"""Seconds between two looks whether the run has to end."""


async def opened(goal: ApplyGoal, conninfo: str, connect: Call[S]) -> S:
    """Open a session by ``connect``, unless the run has to end before the server has answered.

    Raises: RunStopped; WaitTimeout; the errors of ``connect``.
    """
    group = TaskGroup(1)
    job = group.start(connect)
    try:
        try:
            while not job.done():
                # A run that is stopped need not wait, either: nothing is in flight yet.
                goal.check(f"{address(conninfo)} has not accepted a connection yet")
                await group.wait([job], _LOOKS_EVERY)
        finally:
            await group.close()
    except BaseException:
        # Also if it is interrupted while the group is closed: the session may be open by then.
        await abandon(job)
        raise
    return job.result()
