"""The messages of a stream of changes, as pgoutput sends them."""

from datetime import datetime
from typing import Generic, TypeAlias, TypeVar

import attrs

from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.protocol.pgoutput.tables import Table
from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record

R = TypeVar("R")


class _Item(Record):
    """Base of the items of a stream, which name their kind in ``to_dict()`` and in tables."""

    __slots__ = ()
    _has_kind = True


@attrs.frozen
class Begin(_Item):
    """The start of a transaction; all messages up to its Commit belong to it."""

    commit_lsn: LSN
    """The position of its commit record."""
    commit_time: datetime
    xid: int


@attrs.frozen
class Commit(_Item):
    """The end of a transaction; ``end_lsn`` acknowledges it and all earlier ones."""

    commit_lsn: LSN
    end_lsn: LSN
    commit_time: datetime


@attrs.frozen
class Origin(_Item):
    """Replication origin, if the publisher itself received the transaction by replication."""

    origin_lsn: LSN
    """The position of the commit on the origin server."""
    name: str


@attrs.frozen
class Insert(_Item, Generic[R]):
    """An inserted row."""

    lsn: LSN
    xid: int
    """The transaction, or the subtransaction within a transaction streamed in progress."""
    table: Table
    new: R


@attrs.frozen
class Update(_Item, Generic[R]):
    """An updated row.

    ``new`` has UNCHANGED for large values that did not change and are not in ``old``. ``old`` is
    the whole row with REPLICA IDENTITY FULL; otherwise a Row of the key columns if the key changed
    or has a large (TOASTed) value, else None.
    """

    lsn: LSN
    xid: int
    table: Table
    old: R | Row | None
    new: R


@attrs.frozen
class Delete(_Item, Generic[R]):
    """A deleted row.

    ``old`` is the whole row with REPLICA IDENTITY FULL, otherwise a Row of the key columns.
    """

    lsn: LSN
    xid: int
    table: Table
    old: R | Row


@attrs.frozen
class Truncate(_Item):
    """Tables emptied by one TRUNCATE."""

    lsn: LSN
    xid: int
    tables: tuple[Table, ...]
    cascade: bool
    restart_identity: bool


@attrs.frozen
class Message(_Item):
    """A message of pg_logical_emit_message(); from 14 on.

    A message that is not transactional is outside of any transaction: ``end_lsn`` acknowledges it.
    """

    lsn: LSN
    """The end of its record."""
    xid: int
    """The transaction; 0 if the message is not transactional."""
    transactional: bool
    prefix: str
    content: bytes

    @property
    def end_lsn(self) -> LSN:
        """The position that acknowledges a message outside of any transaction."""
        return self.lsn


@attrs.frozen
class StreamStart(_Item):
    """The start of changes of a transaction in progress, up to StreamStop."""

    xid: int
    is_first: bool
    """Whether this is the first part of the transaction."""


@attrs.frozen
class StreamStop(_Item):
    """The end of changes of a transaction in progress."""

    xid: int


@attrs.frozen
class StreamCommit(_Item):
    """The commit of a transaction streamed in progress; ``end_lsn`` acknowledges it."""

    xid: int
    commit_lsn: LSN
    end_lsn: LSN
    commit_time: datetime


@attrs.frozen
class StreamAbort(_Item):
    """The rollback of a transaction streamed in progress, or of one of its subtransactions.

    ``subxid`` equals ``xid`` for the whole transaction. The position and the time are sent only
    with streaming="parallel".
    """

    xid: int
    subxid: int
    abort_lsn: LSN | None = None
    abort_time: datetime | None = None


@attrs.frozen
class BeginPrepare(_Item):
    """The start of a transaction that is prepared; all messages up to its Prepare belong to it."""

    prepare_lsn: LSN
    end_lsn: LSN
    prepare_time: datetime
    xid: int
    gid: str
    """The identifier given to PREPARE TRANSACTION."""


@attrs.frozen
class Prepare(_Item):
    """The end of a prepared transaction: CommitPrepared or RollbackPrepared follows later.

    ``end_lsn`` acknowledges it.
    """

    prepare_lsn: LSN
    end_lsn: LSN
    prepare_time: datetime
    xid: int
    gid: str
    is_streamed: bool = False
    """Whether the transaction was streamed in progress."""


@attrs.frozen
class CommitPrepared(_Item):
    """The commit of a prepared transaction; ``end_lsn`` acknowledges it."""

    commit_lsn: LSN
    end_lsn: LSN
    commit_time: datetime
    xid: int
    gid: str


@attrs.frozen
class RollbackPrepared(_Item):
    """The rollback of a prepared transaction; ``end_lsn`` acknowledges it."""

    prepare_end_lsn: LSN
    end_lsn: LSN
    prepare_time: datetime
    rollback_time: datetime
    xid: int
    gid: str


@attrs.frozen
class SnapshotEnd(_Item):
    """The end of the copied rows, which are of ``lsn``; later changes follow.

    Only ``snapshot_then_changes`` yields it.
    """

    lsn: LSN


Change: TypeAlias = (
    Begin
    | Commit
    | Origin
    | Insert[R]
    | Update[R]
    | Delete[R]
    | Truncate
    | Message
    | StreamStart
    | StreamStop
    | StreamCommit
    | StreamAbort
    | BeginPrepare
    | Prepare
    | CommitPrepared
    | RollbackPrepared
    | SnapshotEnd
)
"""The items of a stream of changes."""

ENDS = (Commit, StreamCommit, Prepare, CommitPrepared, RollbackPrepared)
"""The messages whose ``end_lsn`` acknowledges a transaction, or a phase of one."""
