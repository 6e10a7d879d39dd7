"""FeedPosition: how far a feed is, as its sink stores it with the messages."""

import re
from enum import Enum
from typing import Self

import attrs

from pgreplkit.errors import InvalidFeedPosition
from pgreplkit.values.lsn import LSN


class FeedStage(Enum):
    """The stage of a feed's beginning."""

    CREATING = "creating"
    """The slot is about to be created; the feed has sent nothing."""
    COPYING = "copying"
    """The rows that existed before the slot are being sent."""
    STREAMING = "streaming"
    """Changes are being sent."""
    ADDING = "adding"
    """The rows of tables that were added later are being sent, between changes."""


_TEXT = re.compile(
    r"(?P<stage>creating|copying|streaming|adding)"
    r" (?P<system>\d+)/(?P<timeline>\d+)/(?P<generation>\d+)"
    r"/(?P<numbering>\d+) (?P<lsn>[0-9A-F]{1,8}/[0-9A-F]{1,8}) (?P<number>\d+)(?P<more>\+?)",
    re.ASCII,
)


@attrs.frozen(order=False)
class FeedPosition:
    """The last change that a sink has: it has all changes before, and none after.

    Changes are named by the end of their transaction and their number in it. A slot that is read
    again sends them in the same order with the same names.
    """

    lsn: LSN
    """The end of the transaction of the last change."""
    number: int
    """The number of the last change in its transaction; 0 for a position without a change."""
    is_whole: bool
    """Whether the transaction is complete: otherwise the sink has its first ``number`` changes."""
    stage: FeedStage
    system_id: int
    """The system identifier of the cluster whose position this is."""
    timeline: int
    """The server's timeline when the feed began to stream from it."""
    generation: int = 1
    """The number of the copy of the existing rows: one that was interrupted begins again."""
    numbering: int = 0
    """A checksum of the options by which changes have their numbers: the publications, and whether
    logical messages are sent. It matters for a transaction of which the sink has a part."""

    def __str__(self) -> str:
        # With the plus sign, the text says that more changes of the transaction follow.
        more = "" if self.is_whole else "+"
        of = f"{self.system_id}/{self.timeline}/{self.generation}/{self.numbering}"
        return f"{self.stage.value} {of} {self.lsn} {self.number}{more}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the position of its text.

        Raises: InvalidFeedPosition.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise InvalidFeedPosition(text)
        return cls(
            LSN(match["lsn"]),
            int(match["number"]),
            not match["more"],
            FeedStage(match["stage"]),
            system_id=int(match["system"]),
            timeline=int(match["timeline"]),
            generation=int(match["generation"]),
            numbering=int(match["numbering"]),
        )

    def has(self, lsn: LSN, number: int) -> bool:
        """Return whether the sink has the change of this name."""
        # Transactions arrive in the order of their ends, so that an earlier end is in the sink as a
        # whole.
        if lsn != self.lsn:
            return lsn < self.lsn
        return self.is_whole or number <= self.number
