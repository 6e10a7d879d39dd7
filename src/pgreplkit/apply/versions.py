"""Version: the commit that wrote or deleted a row last, and the order of versions."""

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import attrs

from pgreplkit.values.moments import checked_moment
from pgreplkit.values.record import Record

Order: TypeAlias = tuple[bool, int, int, bool, bytes]
"""Compares as the versions do."""

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def _moment(given: datetime | None) -> datetime | None:
    return checked_moment(given, "commit_time")


def _rank(_version: object, _rank: object, given: int | None) -> None:
    # A bool would count as 0 or 1.
    if given is not None and type(given) is not int:
        raise TypeError(f"rank must be an int, not {type(given).__name__}")


@attrs.frozen
class Version(Record):
    """The commit that wrote or deleted a row last."""

    commit_time: datetime | None = attrs.field(converter=_moment)
    """None if the server does not know it: it does not track commit timestamps, or no longer has
    the one of an old commit."""
    origin: str | None
    """The node on which the commit was made first; None if it is unknown."""
    rank: int | None = attrs.field(default=None, validator=_rank)
    """The rank of the origin, which decides between equal commit times; None if the nodes compare
    the rows' texts instead."""
    row: str | None = None
    """The row as text; None if it is deleted, or if its text decides nothing."""


def order(version: Version) -> Order:
    """Return the place of a version among all versions of a row.

    It depends on nothing but the version itself, so every node finds the same order:

    - A version whose commit time is unknown is older than each one whose time is known. It is not
      one of the year 0: two unknown versions are equal.
    - The later commit time wins; of equal times the higher rank of the node of origin.
    - Without ranks, a deletion wins over a row, and the greater text over the smaller one.
    """
    if version.commit_time is None:
        return False, 0, 0, False, b""
    time = (version.commit_time - _EPOCH) // timedelta(microseconds=1)
    if version.rank is not None:
        return True, time, version.rank, False, b""
    text = b"" if version.row is None else version.row.encode("utf-8", "surrogatepass")
    return True, time, -1, version.row is None, text


def is_superseded(local: Version | None, remote: Version) -> bool:
    """Return whether a remote version replaces a local one.

    A version of equal order does: it is of the same origin, whose later changes come later.
    """
    return local is None or order(local) <= order(remote)
