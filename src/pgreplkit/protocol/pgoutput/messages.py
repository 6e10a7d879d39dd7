"""The messages of a stream of changes (pgoutput)."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, TypeAlias, TypeVar

import attrs

from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.protocol.pgoutput.tables import Table
from pgreplkit.values.lsn import LSN

R = TypeVar("R")


@attrs.frozen
class Begin:
    """The beginning of a transaction; all changes up to its Commit belong to it."""

    commit_lsn: LSN
    """The position of its commit record."""
    commit_time: datetime
    xid: int


@attrs.frozen
class Commit:
    """The end of a transaction; ``end_lsn`` acknowledges it and all before it."""

    commit_lsn: LSN
    end_lsn: LSN
    commit_time: datetime


@attrs.frozen
class Origin:
    """The replication origin from which the publisher itself received the transaction."""

    origin_lsn: LSN
    """The position of its commit record at the origin."""
    name: str


@attrs.frozen
class Insert(Generic[R]):
    """An inserted row."""

    lsn: LSN
    xid: int
    """The transaction, or the subtransaction in one that is streamed while it runs."""
    table: Table
    new: R


@attrs.frozen
class Update(Generic[R]):
    """An updated row.

    ``new`` has UNCHANGED for large (TOASTed) values that were not changed, unless ``old`` has them.
    ``old`` is the whole row with REPLICA IDENTITY FULL. Otherwise it is a Row of the key columns if
    the key changed, or if a key value is TOASTed; else None.
    """

    lsn: LSN
    xid: int
    table: Table
    old: R | Row | None
    new: R


@attrs.frozen
class Delete(Generic[R]):
    """A deleted row.

    ``old`` is the whole row with REPLICA IDENTITY FULL, else a Row of the key columns.
    """

    lsn: LSN
    xid: int
    table: Table
    old: R | Row


@attrs.frozen
class Truncate:
    """Tables that were emptied by one TRUNCATE."""

    lsn: LSN
    xid: int
    tables: tuple[Table, ...]
    cascade: bool
    restart_identity: bool


@attrs.frozen
class Message:
    """A logical message, written by pg_logical_emit_message() (14 on).

    A message that is not transactional belongs to no transaction: ``end_lsn`` acknowledges it.
    """

    lsn: LSN
    """The end of the message."""
    xid: int
    """The transaction; 0 for a message that is not transactional."""
    transactional: bool
    prefix: str
    content: bytes

    @property
    def end_lsn(self) -> LSN:
        """The position that acknowledges a message outside of any transaction."""
        return self.lsn


@attrs.frozen
class StreamStart:
    """The beginning of changes of a transaction that still runs, up to StreamStop."""

    xid: int
    is_first: bool
    """Whether these are the first streamed changes of the transaction."""


@attrs.frozen
class StreamStop:
    """The end of changes of a transaction that still runs."""

    xid: int


@attrs.frozen
class StreamCommit:
    """The commit of a transaction that was streamed; ``end_lsn`` acknowledges it."""

    xid: int
    commit_lsn: LSN
    end_lsn: LSN
    commit_time: datetime


@attrs.frozen
class StreamAbort:
    """The rollback of a streamed transaction, or of one of its subtransactions.

    ``subxid`` equals ``xid`` if the whole transaction is rolled back. Position and time are sent
    with streaming="parallel".
    """

    xid: int
    subxid: int
    abort_lsn: LSN | None = None
    abort_time: datetime | None = None


@attrs.frozen
class BeginPrepare:
    """The beginning of a prepared transaction; all changes up to its Prepare belong to it."""

    prepare_lsn: LSN
    end_lsn: LSN
    prepare_time: datetime
    xid: int
    gid: str
    """Its identifier, given by PREPARE TRANSACTION."""


@attrs.frozen
class Prepare:
    """The end of a transaction that is prepared for a two-phase commit.

    CommitPrepared or RollbackPrepared follows later. ``end_lsn`` acknowledges it.
    """

    prepare_lsn: LSN
    end_lsn: LSN
    prepare_time: datetime
    xid: int
    gid: str
    is_streamed: bool = False
    """Whether the transaction was streamed while it ran."""


@attrs.frozen
class CommitPrepared:
    """The commit of a prepared transaction; ``end_lsn`` acknowledges it."""

    commit_lsn: LSN
    end_lsn: LSN
    commit_time: datetime
    xid: int
    gid: str


@attrs.frozen
class RollbackPrepared:
    """The rollback of a prepared transaction; ``end_lsn`` acknowledges it."""

    prepare_end_lsn: LSN
    end_lsn: LSN
    prepare_time: datetime
    rollback_time: datetime
    xid: int
    gid: str


@attrs.frozen
class SnapshotEnd:
    """The end of the existing rows, as of ``lsn``; the changes since then follow.

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
"""The changes whose ``end_lsn`` acknowledges a transaction, or a step of one."""
