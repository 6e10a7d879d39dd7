"""TimelineHistory: through which timelines the WAL came, and where it switched."""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from pgreplkit.errors import InvalidLSN, InvalidTimelineHistory, TimelineNotInHistory
from pgreplkit.values.lsn import LSN
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.walfile import WalFileName
from pgreplkit.values.walrange import WalRange

_SWITCH = re.compile(r"[ \t]*([0-9]{1,10})[ \t]+([0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8})(?:\s+(.*))?")


@attrs.frozen
class TimelineSwitch:
    """One line of a history: ``timeline`` ended at ``switchpoint``, for ``reason``."""

    timeline: int
    switchpoint: LSN
    reason: str = ""

    def __attrs_post_init__(self) -> None:
        if type(self.timeline) is not int:
            raise TypeError(f"a timeline is an int, not {type(self.timeline).__name__}")
        if not isinstance(self.switchpoint, LSN):
            raise TypeError(f"a switchpoint is an LSN, not {type(self.switchpoint).__name__}")
        if not isinstance(self.reason, str):
            raise TypeError(f"a reason is a str, not {type(self.reason).__name__}")
        if self.reason != self.reason.strip() or "\n" in self.reason or "\r" in self.reason:
            raise InvalidTimelineHistory(self.reason, "a reason is one line without outer spaces")

    def __str__(self) -> str:
        return f"{self.timeline}\t{self.switchpoint}\t{self.reason}"


@attrs.frozen
class TimelineSection:
    """The stretch of WAL that one timeline of a history owns; ``end`` is None for the last."""

    timeline: int
    start: LSN
    end: LSN | None

    def __contains__(self, lsn: LSN) -> bool:
        return self.start <= lsn and (self.end is None or lsn < self.end)


@attrs.frozen
class TimelineHistory:
    """A timeline and those that it came from: what a ``.history`` file says.

    >>> history = TimelineHistory.parse("1\\t0/5000000\\tno recovery target\\n", timeline=2)
    >>> history.timeline_of(LSN("0/4FFFFFF")), history.timeline_of(LSN("0/5000000"))
    (1, 2)
    >>> history.can_follow(1, LSN("0/6000000"))
    False

    Timeline 1 has no file: its history is ``TimelineHistory(1)``.

    Raises: InvalidTimelineHistory when timelines or switchpoints do not rise.
    Source: pg_wal/….history, or TIMELINE_HISTORY of the replication protocol.
    """

    timeline: int
    switches: tuple[TimelineSwitch, ...] = ()

    def __attrs_post_init__(self) -> None:
        if type(self.timeline) is not int:
            raise TypeError(f"a timeline is an int, not {type(self.timeline).__name__}")
        if not isinstance(self.switches, tuple):
            raise TypeError(f"switches are a tuple, not {type(self.switches).__name__}")
        last, position = 0, LSN.INVALID
        for switch in self.switches:
            if switch.timeline <= last:
                raise InvalidTimelineHistory(
                    str(switch), "its timeline is not above the one before"
                )
            if switch.switchpoint < position:
                raise InvalidTimelineHistory(str(switch), "it switched before the one before did")
            last, position = switch.timeline, switch.switchpoint
        if not last < self.timeline < 1 << 32:
            raise InvalidTimelineHistory(
                self.timeline, "a timeline is above those it came from, and below 2**32"
            )

    @classmethod
    def parse(cls, text: str, *, timeline: int) -> TimelineHistory:
        """The history in the text of timeline ``timeline``'s file; comments and blank lines pass.

        Raises: InvalidTimelineHistory; TypeError when it is not a str.
        """
        if not isinstance(text, str):
            raise TypeError(f"a history is a str, not {type(text).__name__}")
        return cls(timeline, tuple(_switches(text)))

    @property
    def timelines(self) -> tuple[int, ...]:
        """The timelines that the WAL came through, oldest first."""
        return (*(switch.timeline for switch in self.switches), self.timeline)

    @property
    def sections(self) -> tuple[TimelineSection, ...]:
        """Which timeline owns which stretch; together they cover the WAL without overlap."""
        points = [switch.switchpoint for switch in self.switches]
        starts, ends = [LSN.INVALID, *points], [*points, None]
        return tuple(
            TimelineSection(timeline, start, end)
            for timeline, start, end in zip(self.timelines, starts, ends, strict=True)
        )

    def timeline_of(self, lsn: LSN) -> int:
        """The timeline that the byte at ``lsn`` was written on; a switchpoint is the child's."""
        return next(section.timeline for section in reversed(self.sections) if lsn in section)

    def switchpoint(self, timeline: int) -> LSN | None:
        """Where that timeline ended and its child began; None for the last, which goes on.

        Raises: TimelineNotInHistory.
        """
        for section in self.sections:
            if section.timeline == timeline:
                return section.end
        raise TimelineNotInHistory(timeline, self.timelines)

    def fork_from(self, other: TimelineHistory) -> tuple[int, LSN]:
        """The timeline and the LSN of the last point that both histories share.

        LSN.MAX when neither ever leaves the other.

        >>> a = TimelineHistory(2, (TimelineSwitch(1, LSN("0/5000000")),))
        >>> b = TimelineHistory(3, (TimelineSwitch(1, LSN("0/6000000")),))
        >>> a.fork_from(b)
        (1, LSN('0/5000000'))

        Raises: TimelineNotInHistory when they share no timeline.
        """
        common: TimelineSection | None = None
        for mine, theirs in zip(self.sections, other.sections, strict=False):
            if (mine.timeline, mine.start) != (theirs.timeline, theirs.start):
                break
            ends = [end for end in (mine.end, theirs.end) if end is not None]
            common = TimelineSection(mine.timeline, mine.start, min(ends, default=LSN.MAX))
        if common is None or common.end is None:
            raise TimelineNotInHistory(other.timelines[0], self.timelines)
        return common.timeline, common.end

    def can_follow(self, timeline: int, lsn: LSN) -> bool:
        """Whether a server that is at ``lsn`` of ``timeline`` can go on along this history.

        False when that timeline is not in it, or had ended before ``lsn``: the server has then
        WAL that this history does not, and needs pg_rewind or a new copy.
        """
        if timeline not in self.timelines:
            return False
        end = self.switchpoint(timeline)
        return end is None or lsn <= end

    def files(
        self, wal: WalRange, *, segment_size: SegmentSize = SegmentSize.DEFAULT
    ) -> Iterator[WalFileName]:
        """The files that recovery along this history reads for ``wal``, made one at a time.

        A segment in which a timeline switched is read from the newest timeline that begins in
        it: the server copies the older WAL of that segment into that file.
        """
        size, begins = segment_size.bytes, 0
        first, after = int(wal.start) // size, -(-int(wal.end) // size) if wal.size else 0
        for section in self.sections:
            begins = int(section.start) // size
            ends = after if section.end is None else min(after, int(section.end) // size)
            for number in range(max(first, begins), ends):
                yield WalFileName(section.timeline, number, segment_size)

    def __str__(self) -> str:
        return "".join(f"{switch}\n" for switch in self.switches)


def _switches(text: str) -> Iterator[TimelineSwitch]:
    for line in text.split("\n"):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _SWITCH.fullmatch(line.rstrip())
        if match is None:
            raise InvalidTimelineHistory(line, "a line is not 'timeline switchpoint reason'")
        try:
            yield TimelineSwitch(int(match[1]), LSN(match[2]), match[3] or "")
        except InvalidLSN as error:
            raise InvalidTimelineHistory(line, error.reason) from None
