"""Changes of a logical slot: streams, messages, rows and row factories.

::

    from pgreplkit.changes import Insert

    with primary.changes("feed", publications=["feed"]) as stream:
        for change in stream:
            match change:
                case Insert(table=table, new=row):
                    print(table, row["id"])

Streams are returned by ``changes`` and ``snapshot_then_changes`` of a server, and by ``changes`` of
a slot or a replication connection. Each message is a frozen class with the fields of pgoutput.
"""

from pgreplkit._public import TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit._async.logical.snapshot import AsyncSnapshotStream as AsyncSnapshotStream
    from pgreplkit._async.streams.changes import (
        AsyncChangeStream as AsyncChangeStream,
        AsyncPayloadStream as AsyncPayloadStream,
        AsyncTransactionStream as AsyncTransactionStream,
    )
    from pgreplkit._sync.logical.snapshot import SnapshotStream as SnapshotStream
    from pgreplkit._sync.streams.changes import (
        ChangeStream as ChangeStream,
        PayloadStream as PayloadStream,
        TransactionStream as TransactionStream,
    )
    from pgreplkit.plans.streams.options import (
        ChangeOptions as ChangeOptions,
        StreamOptions as StreamOptions,
    )
    from pgreplkit.protocol.changefeed import Payload as Payload
    from pgreplkit.protocol.pgoutput.messages import (
        Begin as Begin,
        BeginPrepare as BeginPrepare,
        Change as Change,
        Commit as Commit,
        CommitPrepared as CommitPrepared,
        Delete as Delete,
        Insert as Insert,
        Message as Message,
        Origin as Origin,
        Prepare as Prepare,
        RollbackPrepared as RollbackPrepared,
        SnapshotEnd as SnapshotEnd,
        StreamAbort as StreamAbort,
        StreamCommit as StreamCommit,
        StreamStart as StreamStart,
        StreamStop as StreamStop,
        Truncate as Truncate,
        Update as Update,
    )
    from pgreplkit.protocol.pgoutput.rows import (
        UNCHANGED as UNCHANGED,
        Row as Row,
        RowFactory as RowFactory,
        RowMaker as RowMaker,
        Unchanged as Unchanged,
        class_rows as class_rows,
        dict_rows as dict_rows,
        named_rows as named_rows,
        tuple_rows as tuple_rows,
    )
    from pgreplkit.protocol.pgoutput.tables import (
        Column as Column,
        RelationIdentity as RelationIdentity,
        Table as Table,
    )
    from pgreplkit.protocol.transactions import Transaction as Transaction

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(__name__)
    __all__ = __dir__()
