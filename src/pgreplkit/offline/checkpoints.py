"""WalCheckpoint: a checkpoint, decoded from its record."""

from datetime import UTC, datetime
from struct import Struct

import attrs

from pgreplkit.offline.damage import InvalidWal
from pgreplkit.offline.kinds import XLOG
from pgreplkit.offline.records import WalRecord
from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record

_SHUTDOWN, _ONLINE = 0x00, 0x10
# From 12 on, the next transaction is one number of 64 bits; before, the epoch is a number of its
# own. The unused number before it is padding in old versions.
_UNTIL_11, _FROM_12 = Struct("<QII?3x9Iq3I4x"), Struct("<QII?3xiQ7I4xq3I4x")
_EPOCH_BITS = 32


@attrs.frozen(kw_only=True)
class WalCheckpoint(Record):
    """A checkpoint as the WAL records it, with the field names of pg_control_checkpoint().

    Source: the records CHECKPOINT_SHUTDOWN and CHECKPOINT_ONLINE.
    """

    lsn: LSN
    """Position of the record: ``checkpoint_lsn`` of pg_control_checkpoint()."""
    is_shutdown: bool
    """True if the server wrote it when it shut down."""
    redo_lsn: LSN
    """Position from which recovery starts."""
    timeline: int
    prev_timeline: int
    """The timeline before a switch; otherwise the same timeline."""
    full_page_writes: bool
    next_xid: int
    """The next transaction, with the epoch: as pg_current_xact_id() counts."""
    next_oid: int
    next_multixact_id: int
    next_multi_offset: int
    oldest_xid: int
    oldest_xid_database: int
    oldest_multi_xid: int
    oldest_multi_database: int
    time: datetime
    """The time at which the checkpoint began."""
    oldest_commit_ts_xid: int
    newest_commit_ts_xid: int
    oldest_active_xid: int


def is_checkpoint(record: WalRecord) -> bool:
    """Return True for the record of a checkpoint."""
    return record.manager == XLOG and record.info & 0xF0 in (_SHUTDOWN, _ONLINE)


def checkpoint_of(record: WalRecord) -> WalCheckpoint:
    """Decode the record of a checkpoint.

    Raises: InvalidWal.
    """
    return record._apply("checkpoint", _checkpoint)


def _checkpoint(record: WalRecord) -> WalCheckpoint:
    if record.major < 12:
        redo, timeline, previous, writes, epoch, xid, *rest = _UNTIL_11.unpack(record.data)
        next_xid = epoch << _EPOCH_BITS | xid
    else:
        redo, timeline, previous, writes, _, next_xid, *rest = _FROM_12.unpack(record.data)
    oid, multi, offset, oldest, oldest_in, oldest_multi, multi_in, seconds, *commits = rest
    oldest_commit, newest_commit, oldest_active = commits
    try:
        # Unlike all other times in the WAL, it is in seconds since 1970.
        time = datetime.fromtimestamp(seconds, tz=UTC)
    except (OverflowError, ValueError, OSError):
        raise InvalidWal(f"its time is {seconds} s after 1970") from None
    return WalCheckpoint(
        lsn=record.lsn,
        is_shutdown=record.info & 0xF0 == _SHUTDOWN,
        redo_lsn=LSN(redo),
        timeline=timeline,
        prev_timeline=previous,
        full_page_writes=writes,
        next_xid=next_xid,
        next_oid=oid,
        next_multixact_id=multi,
        next_multi_offset=offset,
        oldest_xid=oldest,
        oldest_xid_database=oldest_in,
        oldest_multi_xid=oldest_multi,
        oldest_multi_database=multi_in,
        time=time,
        oldest_commit_ts_xid=oldest_commit,
        newest_commit_ts_xid=newest_commit,
        oldest_active_xid=oldest_active,
    )
