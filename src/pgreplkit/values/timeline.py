"""TimelineHistory: the ancestors of a timeline and the positions where the WAL switched."""

import itertools
import re
from collections.abc import Iterator

import attrs

from pgreplkit.errors import InvalidLSN, InvalidTimelineHistory, TimelineNotInHistory
from pgreplkit.values.lsn import LSN
from pgreplkit.values.modelfield import ModelField
from pgreplkit.values.record import Record
from pgreplkit.values.segment import AnySegmentSize, SegmentSize, segment_size_of
from pgreplkit.values.walfile import WalFileName
from pgreplkit.values.walrange import WalRange

_SWITCH = re.compile(r"[ \t]*([0-9]{1,10})[ \t]+([0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8})(?:\s+(.*))?")


@attrs.frozen
class TimelineSwitch(ModelField):
    """One line of a timeline history: ``timeline`` was left at ``switchpoint``."""

    timeline: int
    switchpoint: LSN
    reason: str = ""

    def __attrs_post_init__(self) -> None:
        if type(self.timeline) is not int:
            raise TypeError(f"a timeline must be an int, not {type(self.timeline).__name__}")
        if not isinstance(self.switchpoint, LSN):
            raise TypeError(f"a switchpoint must be an LSN, not {type(self.switchpoint).__name__}")
        if not isinstance(self.reason, str):
            raise TypeError(f"a reason must be a str, not {type(self.reason).__name__}")
        if self.reason != self.reason.strip() or "\n" in self.reason or "\r" in self.reason:
            raise InvalidTimelineHistory(
                self.reason, "the reason has several lines, or spaces at its start or end"
            )

    def __str__(self) -> str:
        return f"{self.timeline}\t{self.switchpoint}\t{self.reason}"


@attrs.frozen
class TimelineSection(Record):
    """The range of WAL that a history reads from one timeline; ``end`` is None for the last."""

    timeline: int
    start: LSN
    end: LSN | None

    def __contains__(self, lsn: LSN) -> bool:
        return self.start <= lsn and (self.end is None or lsn < self.end)


@attrs.frozen
class TimelineHistory(ModelField):
    """A timeline and its ancestors, as recorded in a ``.history`` file.

    >>> history = TimelineHistory.parse("1\\t0/5000000\\tno recovery target\\n", timeline=2)
    >>> history.timeline_of(LSN("0/4FFFFFF")), history.timeline_of(LSN("0/5000000"))
    (1, 2)
    >>> history.can_follow(1, LSN("0/6000000"))
    False

    Timeline 1 has no history file: its history is ``TimelineHistory(1)``.

    Timelines must ascend, but switchpoints need not: a recovery along timeline 2 that ends before
    timeline 2 began creates a history whose second switchpoint is below the first. As on the
    server, the newest timeline that contains a position decides:

    >>> history = TimelineHistory.parse("1\\t0/9000000\\n2\\t0/5000000\\n", timeline=3)
    >>> history.timeline_of(LSN("0/4000000")), history.timeline_of(LSN("0/7000000"))
    (1, 3)

    Raises:
        InvalidTimelineHistory: If the timelines do not ascend or are out of range.
        TypeError: If an argument has another type.

    Source:
        pg_wal/….history, or TIMELINE_HISTORY of the replication protocol.
    """

    timeline: int
    switches: tuple[TimelineSwitch, ...] = ()

    def __attrs_post_init__(self) -> None:
        if type(self.timeline) is not int:
            raise TypeError(f"a timeline must be an int, not {type(self.timeline).__name__}")
        if not isinstance(self.switches, tuple):
            raise TypeError(f"switches must be a tuple, not {type(self.switches).__name__}")
        last = 0
        for switch in self.switches:
            if switch.timeline <= last:
                raise InvalidTimelineHistory(
                    str(switch), "its timeline is not above that of the previous line"
                )
            last = switch.timeline
        if not last < self.timeline < 1 << 32:
            raise InvalidTimelineHistory(
                self.timeline, "the timeline is not above its ancestors and below 2**32"
            )

    @classmethod
    def parse(cls, text: str, *, timeline: int) -> "TimelineHistory":
        """Parse the ``.history`` file of ``timeline``, skipping comments and blank lines.

        Raises:
            InvalidTimelineHistory: If a line is malformed or the timelines do not ascend.
            TypeError: If the text is not a str.
        """
        if not isinstance(text, str):
            raise TypeError(f"TimelineHistory.parse() takes a str, not {type(text).__name__}")
        return cls(timeline, tuple(_switches(text)))

    @classmethod
    def from_bytes(cls, content: bytes, *, timeline: int) -> "TimelineHistory":
        """Parse the content of a ``.history`` file.

        The reason of a switch may be the name of a restore point, in the encoding of its database;
        bytes that are not UTF-8 are escaped.

        Raises:
            InvalidTimelineHistory: If a line is malformed or the timelines do not ascend.
        """
        return cls.parse(content.decode(errors="backslashreplace"), timeline=timeline)

    @property
    def timelines(self) -> tuple[int, ...]:
        """All timelines of the history, oldest first."""
        return (*(switch.timeline for switch in self.switches), self.timeline)

    @property
    def sections(self) -> tuple[TimelineSection, ...]:
        """The range of WAL of each timeline, oldest first; the ranges do not overlap.

        The range of a timeline is empty if the history left an ancestor before that timeline
        began.
        """
        # The server looks through the lines from the newest to the oldest, so a line counts only
        # up to the lowest switchpoint of the lines after it.
        points = [switch.switchpoint for switch in self.switches]
        falling = itertools.accumulate(reversed(points), min)
        points = [*reversed([*falling])]
        starts, ends = [LSN.INVALID, *points], [*points, None]
        return tuple(
            TimelineSection(timeline, start, end)
            for timeline, start, end in zip(self.timelines, starts, ends, strict=True)
        )

    def timeline_of(self, lsn: LSN) -> int:
        """Return the timeline of the byte at ``lsn``; a switchpoint belongs to the child."""
        return next(section.timeline for section in reversed(self.sections) if lsn in section)

    def switchpoint(self, timeline: int) -> LSN | None:
        """Return the position at which that timeline was left; None for the last timeline.

        This is the position in the timeline's own line. If a later switchpoint is lower, the
        history contains less of that timeline: see ``section``.

        Raises:
            TimelineNotInHistory: If the history does not contain the timeline.
        """
        for switch in self.switches:
            if switch.timeline == timeline:
                return switch.switchpoint
        if timeline == self.timeline:
            return None
        raise TimelineNotInHistory(timeline, self.timelines)

    def section(self, timeline: int) -> TimelineSection:
        """Return the range of WAL that the history reads from that timeline.

        Raises:
            TimelineNotInHistory: If the history does not contain the timeline.
        """
        for section in self.sections:
            if section.timeline == timeline:
                return section
        raise TimelineNotInHistory(timeline, self.timelines)

    def fork_from(self, other: "TimelineHistory") -> tuple[int, LSN]:
        """Return the timeline and LSN up to which both histories are identical.

        The LSN is ``LSN.MAX`` if the histories do not diverge.

        >>> a = TimelineHistory(2, (TimelineSwitch(1, LSN("0/5000000")),))
        >>> b = TimelineHistory(3, (TimelineSwitch(1, LSN("0/6000000")),))
        >>> a.fork_from(b)
        (1, LSN('0/5000000'))

        Raises:
            TimelineNotInHistory: If the histories have no timeline in common.
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
        """Return True if a server at ``lsn`` of ``timeline`` can continue along this history.

        It cannot if the history does not contain the timeline, or left it before ``lsn``: then
        the server has WAL that is not part of this history, and needs pg_rewind or a new copy.
        """
        if timeline not in self.timelines:
            return False
        end = self.section(timeline).end
        return end is None or lsn <= end

    def files(
        self, wal: WalRange, *, segment_size: AnySegmentSize = SegmentSize.DEFAULT
    ) -> Iterator[WalFileName]:
        """Iterate over the files that recovery along this history reads for ``wal``.

        A segment in which a timeline switched is read from the newest timeline that begins in
        it, because the server copies the older WAL of that segment into that file.
        """
        segment_size = segment_size_of(segment_size)
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
            raise InvalidTimelineHistory(
                line, "the line is not of the form 'timeline switchpoint reason'"
            )
        try:
            yield TimelineSwitch(int(match[1]), LSN(match[2]), match[3] or "")
        except InvalidLSN as error:
            raise InvalidTimelineHistory(line, error.reason) from None
