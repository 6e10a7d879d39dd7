"""The writable server at each step of a switchover and of a failover."""

from __future__ import annotations

from clusterfacts import handover

from pgreplkit.plans.cluster.failover import failover_steps
from pgreplkit.plans.cluster.promotion import promotion_writes
from pgreplkit.plans.cluster.steps import Promote, StopPrimary
from pgreplkit.plans.cluster.switchover import switchover_steps


def test_a_switchover_says_at_each_step_who_accepts_writes() -> None:
    steps = switchover_steps(handover())
    writes = promotion_writes(steps)
    no_server = "no server accepts writes: Db-1 is shut down, and db2 is a standby"
    assert list(writes.states) == [
        *["Db-1 accepts writes, as before"] * 2,
        "Db-1 may be down already; if not, it accepts writes",
        *[no_server] * 2,
        "db2 may accept writes already; if not, no server does",
        *["db2 accepts writes"] * 3,
    ]
    assert writes.outage is not None
    first, last = writes.outage
    assert isinstance(steps[first], StopPrimary)
    assert isinstance(steps[last], Promote)


def test_a_failover_begins_without_a_server_that_accepts_writes() -> None:
    writes = promotion_writes(failover_steps(handover(), fenced=True))
    assert list(writes.states) == [
        *["no server accepts writes, because the primary is lost"] * 3,
        "db2 may accept writes already; if not, no server does",
        *["db2 accepts writes"] * 2,
    ]
    assert writes.outage is None
