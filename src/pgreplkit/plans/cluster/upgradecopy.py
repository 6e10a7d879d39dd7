"""The copy of the rows for an upgrade: whether waiting for it can help."""

from collections.abc import Iterable

import attrs

from pgreplkit.plans.logical.stuck import StuckReason, SubscriptionProblem
from pgreplkit.plans.logical.subscription import SubscriptionStatus

_LASTING = {
    StuckReason.PUBLICATION_MISSING,
    StuckReason.SLOT_MISSING,
    StuckReason.SLOT_LOST,
    StuckReason.TABLE_MISSING,
    StuckReason.COLUMN_MISSING,
    StuckReason.PERMISSION,
    StuckReason.ROWS_EXIST,
    StuckReason.FAILING_TRANSACTION,
}
"""Reasons that stay until someone acts. A lost connection or a lack of workers may end."""


@attrs.frozen(kw_only=True)
class CopyLook:
    """The state of a subscription that copies its tables, at one look."""

    errors: int | None = None
    """The number of errors of its copies; None before the first look, and before 15."""
    failing: int = 0
    """Looks in a row that showed a copy that fails."""
    is_waiting: bool = True
    """Whether it is enabled and has tables."""

    def next(
        self, status: SubscriptionStatus, problems: Iterable[SubscriptionProblem]
    ) -> "CopyLook":
        """Return the next look."""
        errors = None if status.stats is None else status.stats.sync_error_count
        # One failure may be that of a connection that was lost, and stays in the count.
        is_rising = errors is not None and self.errors is not None and errors > self.errors
        is_failing = is_rising or any(one.reason in _LASTING for one in problems)
        return CopyLook(
            errors=errors,
            failing=self.failing + 1 if is_failing else 0,
            is_waiting=status.state.subenabled and bool(status.tables),
        )

    @property
    def is_hopeless(self) -> bool:
        """Whether waiting does not help."""
        return self.failing > 1 or not self.is_waiting
