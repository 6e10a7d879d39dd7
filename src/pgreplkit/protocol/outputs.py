"""What a stream gives: typed changes of pgoutput, or any plugin's messages as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import attrs

from pgreplkit.errors import ServerError
from pgreplkit.protocol.feedback import Feedback
from pgreplkit.protocol.pgoutput import messages as m
from pgreplkit.protocol.pgoutput.decoder import Decoder
from pgreplkit.protocol.pgoutput.messages import ENDS, Change
from pgreplkit.values.lsn import LSN

R = TypeVar("R")


@attrs.frozen
class Payload:
    """A message of an output plugin, as it is.

    ``lsn`` is where the plugin says that it stands; the message of a commit has the transaction's
    end, which acknowledges it.
    """

    lsn: LSN
    data: bytes


class PayloadOutput:
    """Messages as they are. All are outstanding until their position is acknowledged."""

    def take(self, data: bytes, lsn: LSN, at: int, feedback: Feedback, /) -> Payload:
        """The message."""
        feedback.deliver(lsn)
        return Payload(lsn, data[at:])

    def restart(self) -> None:
        """Nothing is remembered."""


class ChangeOutput(Generic[R]):
    """Typed changes.

    After a restart the server sends again what it had sent of a transaction that had not ended;
    what was handed out of it is passed over.
    """

    def __init__(self, make_decoder: Callable[[], Decoder[R]]) -> None:
        self._make_decoder = make_decoder
        self._decode = make_decoder().decode
        self._begin: Change[R] | None = None
        self._given = self._to_pass_over = 0
        """How much was handed out of the transaction that ``_begin`` began."""

    def take(self, data: bytes, lsn: LSN, at: int, feedback: Feedback, /) -> Change[R] | None:
        """The change, if it is one that was not handed out."""
        change = self._decode(data, lsn, at)
        if change is None:
            return None
        track = _TRACKS.get(type(change))
        if track is not None:
            if self._to_pass_over and not self._given and change != self._begin:
                raise ServerError(
                    f"go on within the transaction of {self._begin!r}",
                    f"the server sends {change!r} instead: it lost the transaction in a failover",
                )
            track(change, feedback)
            self._begin = change if type(change) in _BEGINS else None
            self._given = 0
        elif type(change) is m.Message and not change.transactional:
            feedback.deliver(change.end_lsn)
        self._given += 1
        if self._to_pass_over:
            self._to_pass_over -= 1
            return None
        return change

    def restart(self) -> None:
        """Begin anew with what the server sends first."""
        self._decode = self._make_decoder().decode
        self._to_pass_over = self._given if self._begin is not None else 0
        self._given = 0


def _begin(change: object, feedback: Feedback) -> None:
    feedback.is_within = True


def _end(change: object, feedback: Feedback) -> None:
    feedback.deliver(change.end_lsn)  # type: ignore[attr-defined]


def _stop(change: object, feedback: Feedback) -> None:
    feedback.is_within = False


_BEGINS = (m.Begin, m.BeginPrepare)
_TRACKS: Mapping[type, Callable[[object, Feedback], None]] = {
    **dict.fromkeys((*_BEGINS, m.StreamStart), _begin),
    **dict.fromkeys(ENDS, _end),
    m.StreamStop: _stop,
}
