"""RefusedChange: a change that was refused, and what on_error decides about its transaction."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal, TypeAlias

import attrs

from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record

FailureDecision: TypeAlias = Literal["stop", "park", "skip"]
"""Stop before the transaction; put it aside; or go past it, as ALTER SUBSCRIPTION SKIP does."""
_DECISIONS = ("stop", "park", "skip")


@attrs.frozen(kw_only=True)
class RefusedChange(Record):
    """A change that the subscriber refused; nothing of its transaction is applied."""

    xid: int
    """The transaction's ID on the publisher."""
    lsn: LSN
    """The end of the transaction on the publisher."""
    commit_time: datetime
    table: str | None
    """The publisher's table; None if no single change was refused, as by a deferred constraint."""
    change_number: int | None
    """The number of the change in its transaction, from 1; None if no single one was refused."""
    sqlstate: str | None
    found: str
    """The subscriber's error."""


OnError: TypeAlias = Literal["stop", "park"] | Callable[[RefusedChange], FailureDecision]
"""A decision for all refused changes, or a function that decides about each."""


class OnErrorFailed(Exception):
    """A function that raised an error, or returned no decision."""


def decided(on_error: OnError, failed: RefusedChange) -> FailureDecision:
    """Return the decision about a refused change.

    Raises: OnErrorFailed.
    """
    if not callable(on_error):
        return on_error
    try:
        decision = on_error(failed)
    except Exception as error:
        raise OnErrorFailed(f"on_error raised {type(error).__name__}: {error}") from error
    if decision not in _DECISIONS:
        raise OnErrorFailed(f"on_error returned {decision!r}, which is not stop, park or skip")
    return decision
