"""StreamState: the life of a stream, with the transitions that are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class StreamState(Enum):
    """The state of a stream of the replication protocol."""

    NEW = "new"
    """The server has not been asked for anything yet."""
    OPEN = "open"
    """The server streams."""
    CUT = "cut"
    """The connection is lost; the next read reconnects."""
    FAILED = "failed"
    """An error ended the stream; each further read raises that error."""
    CLOSED = "closed"
    """The stream was closed, or has reached its end."""

    is_over: bool
    """Whether nothing more will come."""

    def to(self, state: StreamState) -> StreamState:
        """Return `state`, if a stream may change to it from this state.

        Raises: RuntimeError for a transition that is not in ``TRANSITIONS``.
        """
        if state not in TRANSITIONS[self]:
            raise RuntimeError(f"a stream that is {self.value} cannot become {state.value}")
        return state


TRANSITIONS: Mapping[StreamState, frozenset[StreamState]] = {
    # A stream may be closed before it was opened, or fail while it is.
    StreamState.NEW: frozenset({StreamState.OPEN, StreamState.FAILED, StreamState.CLOSED}),
    StreamState.OPEN: frozenset({StreamState.CUT, StreamState.FAILED, StreamState.CLOSED}),
    StreamState.CUT: frozenset({StreamState.OPEN, StreamState.FAILED, StreamState.CLOSED}),
    StreamState.FAILED: frozenset(),
    StreamState.CLOSED: frozenset(),
}
"""The states that may follow each state. Only a stream that may reconnect is ever cut."""

# An attribute, since it is read for each change: the look-up of a member costs more.
for _state, _following in TRANSITIONS.items():
    _state.is_over = not _following
