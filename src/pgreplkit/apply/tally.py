"""ApplyTally: the work of an applier, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

import attrs

from pgreplkit.plans.logical.applying import ApplyReport, ConflictKind
from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.protocol.rawtransactions import RawTransaction
from pgreplkit.values.lsn import LSN


@attrs.define(eq=False)
class ApplyTally:
    """The work of an applier, counted over all of its runs."""

    transactions: int = 0
    changes: int = 0
    parked: int = 0
    skipped: int = 0
    copied_rows: int = 0
    position: LSN = LSN.INVALID
    """The end of the last transaction that was flushed."""
    conflicts: Counter[ConflictKind] = attrs.field(factory=Counter)
    last: tuple[RawTransaction[Row], float] | None = None
    """The last transaction that was applied, and the value of time.monotonic() then."""
    epoch: datetime | None = None
    """The publisher's clock when time.monotonic() was 0: the one of this machine may be wrong."""
    waits_for_clock: Callable[[], timedelta] = timedelta
    """Returns the time until the next change may be applied; 0 unless a policy compares times."""

    @property
    def lag(self) -> timedelta | None:
        """The age of the last applied commit when it was applied."""
        if self.last is None or self.epoch is None:
            return None
        transaction, at = self.last
        return max(self.epoch + timedelta(seconds=at) - transaction.commit_time, timedelta(0))

    def copy(self) -> ApplyTally:
        """Return the counts until now."""
        return attrs.evolve(self, conflicts=self.conflicts.copy())

    def report(self, before: ApplyTally) -> ApplyReport:
        """Return the work since ``before``."""
        return ApplyReport(
            transactions=self.transactions - before.transactions,
            changes=self.changes - before.changes,
            # Only the kinds that were met since.
            conflicts=dict(self.conflicts - before.conflicts),
            parked=self.parked - before.parked,
            skipped=self.skipped - before.skipped,
            copied_rows=self.copied_rows - before.copied_rows,
            position=self.position,
            lag=self.lag,
        )
