"""WalRange: a contiguous range of WAL."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from pgreplkit.errors import InvalidWalRange
from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record
from pgreplkit.values.segment import AnySegmentSize, SegmentSize, segment_size_of
from pgreplkit.values.walfile import WalFileName

if TYPE_CHECKING:
    from pgreplkit.values.timeline import TimelineHistory


@attrs.frozen
class WalRange(Record):
    """WAL from ``start`` (inclusive) to ``end`` (exclusive).

    >>> range = WalRange(LSN("0/2000028"), LSN("0/5000000"))
    >>> range.size, LSN("0/2000028") in range, range.end in range
    (50331608, True, False)
    >>> [str(name) for name in range.files(1)]
    ['000000010000000000000002', '000000010000000000000003', '000000010000000000000004']

    Raises:
        InvalidWalRange: If the end is before the start.
        TypeError: If start and end are not LSNs.
    """

    start: LSN
    end: LSN

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.start, LSN) or not isinstance(self.end, LSN):
            raise TypeError("the start and end of a WAL range must be LSNs")
        if self.end < self.start:
            raise InvalidWalRange(f"{self.start} to {self.end}", "the end is before the start")

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.end - self.start

    def __contains__(self, item: "LSN | WalRange") -> bool:
        if isinstance(item, WalRange):
            return self.start <= item.start and item.end <= self.end
        if isinstance(item, LSN):
            return self.start <= item < self.end
        raise TypeError(f"a WAL range contains LSNs and ranges, not {type(item).__name__}")

    def intersection(self, other: "WalRange") -> "WalRange | None":
        """Return the WAL that both ranges contain, or None if they do not overlap.

        >>> a, b, c, d = map(LSN, (100, 200, 300, 400))
        >>> WalRange(a, c).intersection(WalRange(b, d)) == WalRange(b, c)
        True
        """
        start, end = max(self.start, other.start), min(self.end, other.end)
        return WalRange(start, end) if start < end else None

    def file_count(self, segment_size: AnySegmentSize = SegmentSize.DEFAULT) -> int:
        """Count the WAL files that contain this range.

        >>> WalRange(LSN("0/2000028"), LSN("0/5000000")).file_count()
        3
        """
        return len(self._numbers(segment_size))

    def files(
        self,
        timeline: "int | TimelineHistory",
        *,
        segment_size: AnySegmentSize = SegmentSize.DEFAULT,
    ) -> Iterator[WalFileName]:
        """Iterate over the names of the WAL files that contain this range, in order.

        With a history, the names are those that recovery along that history reads: a segment in
        which a timeline switched has the name of the newest timeline that begins in it, because
        the server copies the older WAL of that segment into that file.
        """
        if not isinstance(timeline, int):
            return timeline.files(self, segment_size=segment_size)
        return self._numbered(timeline, segment_size_of(segment_size))

    def _numbered(self, timeline: int, segment_size: SegmentSize) -> Iterator[WalFileName]:
        for number in self._numbers(segment_size):
            yield WalFileName(timeline, number, segment_size)

    def _numbers(self, segment_size: AnySegmentSize) -> range:
        size = segment_size_of(segment_size).bytes
        if not self.size:
            return range(0)
        return range(int(self.start) // size, (int(self.end) - 1) // size + 1)
