"""FeedState and FeedReport: the state of a feed, and its counts."""

from datetime import timedelta

import attrs

from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record


class FeedState(OpenEnum):
    """The state of a feed."""

    NEW = "new"
    """It was never run."""
    STARTING = "starting"
    """It connects, compares the positions of the sink and the slot, and sends the rows that existed
    before its slot."""
    STREAMING = "streaming"
    """It sends changes."""
    WAITING = "waiting"
    """The server or the engine could not be reached; the feed tries again."""
    FAILED = "failed"
    """It has ended with an error."""
    STOPPED = "stopped"
    """It has ended without an error, or was stopped while it waited."""


@attrs.frozen(kw_only=True)
class FeedReport(Record):
    """The result of one run of a feed."""

    transactions: int
    """The transactions that were read; a part of one counts too."""
    messages: int
    """The messages that the sink has stored."""
    copied_rows: int
    """The rows that existed before the slot."""
    parked: int
    """The changes that the sink refused, and that were replaced by a message that says so."""
    position: LSN | None
    """The end of the last transaction of which the sink has changes; None if it is unknown."""
    lag: timedelta | None
    """The age of the last commit when the sink had stored it; None if there was none."""
