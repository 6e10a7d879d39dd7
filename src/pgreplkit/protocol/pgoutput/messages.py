"""The messages of a stream of changes, as pgoutput tells them."""

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
    """A transaction begins; all up to its Commit belongs to it."""

    commit_lsn: LSN
    """Where its commit stands."""
    commit_time: datetime
    xid: int


@attrs.frozen
class Commit:
    """A transaction ends; with ``end_lsn`` it and all before it are acknowledged."""

    commit_lsn: LSN
    end_lsn: LSN
    commit_time: datetime


@attrs.frozen
class Origin:
    """The transaction came to the publisher by replication, from the origin of that name."""

    origin_lsn: LSN
    """Where its commit stands at the origin."""
    name: str


@attrs.frozen
class Insert(Generic[R]):
    """A row was inserted."""

    lsn: LSN
    xid: int
    """The transaction, or the subtransaction in one that is streamed while it runs."""
    table: Table
    new: R


@attrs.frozen
class Update(Generic[R]):
    """A row was updated.

    ``new`` has UNCHANGED for large values that were not changed. ``old`` is the whole row with
    REPLICA IDENTITY FULL; else a Row of the key's columns, or None when the key stayed the same.
    """

    lsn: LSN
    xid: int
    table: Table
    old: R | Row | None
    new: R


@attrs.frozen
class Delete(Generic[R]):
    """A row was deleted.

    ``old`` is the whole row with REPLICA IDENTITY FULL, else a Row of the key's columns.
    """

    lsn: LSN
    xid: int
    table: Table
    old: R | Row


@attrs.frozen
class Truncate:
    """Tables were emptied, all of them by one TRUNCATE."""

    lsn: LSN
    xid: int
    tables: tuple[Table, ...]
    cascade: bool
    restart_identity: bool


@attrs.frozen
class Message:
    """What somebody gave to pg_logical_emit_message(); from 14 on.

    One that is not transactional stands in no transaction: ``end_lsn`` acknowledges it.
    """

    lsn: LSN
    """Where it ends."""
    xid: int
    """The transaction; 0 for a message that is not transactional."""
    transactional: bool
    prefix: str
    content: bytes

    @property
    def end_lsn(self) -> LSN:
        """What acknowledges a message that stands in no transaction."""
        return self.lsn


@attrs.frozen
class StreamStart:
    """Changes of a transaction that still runs follow, up to StreamStop."""

    xid: int
    is_first: bool
    """Whether nothing of the transaction was streamed before."""


@attrs.frozen
class StreamStop:
    """What follows is of other transactions."""

    xid: int


@attrs.frozen
class StreamCommit:
    """A transaction that was streamed while it ran ends; ``end_lsn`` acknowledges it."""

    xid: int
    commit_lsn: LSN
    end_lsn: LSN
    commit_time: datetime


@attrs.frozen
class StreamAbort:
    """What was streamed of a transaction, or of one of its subtransactions, is void.

    ``subxid`` is ``xid`` when all of it is. Position and time come with streaming="parallel".
    """

    xid: int
    subxid: int
    abort_lsn: LSN | None = None
    abort_time: datetime | None = None


@attrs.frozen
class BeginPrepare:
    """A transaction begins that is prepared for a two-phase commit; all up to its Prepare belongs
    to it."""

    prepare_lsn: LSN
    end_lsn: LSN
    prepare_time: datetime
    xid: int
    gid: str
    """Its name, as PREPARE TRANSACTION gave it."""


@attrs.frozen
class Prepare:
    """A transaction is prepared: CommitPrepared or RollbackPrepared follows some time.

    ``end_lsn`` acknowledges it.
    """

    prepare_lsn: LSN
    end_lsn: LSN
    prepare_time: datetime
    xid: int
    gid: str
    is_streamed: bool = False
    """Whether it was streamed while it ran."""


@attrs.frozen
class CommitPrepared:
    """A transaction that was prepared is committed; ``end_lsn`` acknowledges it."""

    commit_lsn: LSN
    end_lsn: LSN
    commit_time: datetime
    xid: int
    gid: str


@attrs.frozen
class RollbackPrepared:
    """A transaction that was prepared is rolled back; ``end_lsn`` acknowledges it."""

    prepare_end_lsn: LSN
    end_lsn: LSN
    prepare_time: datetime
    rollback_time: datetime
    xid: int
    gid: str


@attrs.frozen
class SnapshotEnd:
    """The rows that were there are given, as of ``lsn``; what follows are the changes since.

    Of ``snapshot_then_changes`` only.
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
"""What a stream of changes gives."""

ENDS = (Commit, StreamCommit, Prepare, CommitPrepared, RollbackPrepared)
"""By the ``end_lsn`` of these a transaction, or a step of one, is acknowledged."""
