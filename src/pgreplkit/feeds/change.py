"""FeedChange: a change as an encoder gets it, with its values as the server sent them."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import Enum

import attrs

from pgreplkit.errors import EncodingFailed
from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.protocol.pgoutput.tables import Table
from pgreplkit.protocol.pgoutput.tuples import RawValues, TableReader
from pgreplkit.protocol.rawtransactions import RawTransaction, time_of
from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record


class FeedOperation(Enum):
    """The action of a change."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    TRUNCATE = "truncate"
    MESSAGE = "message"
    """A logical message, written by pg_logical_emit_message()."""
    READ = "read"
    """A row that existed before the feed began."""


@attrs.frozen
class FeedSource(Record):
    """The source of a feed; the same for all of its changes."""

    feed: str
    """The feed's name, which is that of its slot."""
    system_id: int
    """The cluster's system identifier."""
    database: str
    server_version: int
    """The major version."""


@attrs.define(eq=False)
class FeedChange:
    """A change, with its values in the text form in which the server sent them.

    Its permanent name is ``(lsn, number)``: a slot that is read again sends the same.
    """

    source: FeedSource
    operation: FeedOperation
    lsn: LSN
    """The end of the transaction; for a row that existed before, the slot's first position."""
    number: int
    """The number in the transaction, from 1."""
    xid: int
    """0 for a logical message that is not transactional, and for rows that existed before."""
    microseconds: int
    """The commit time in microseconds since 2000-01-01 UTC; 0 where ``xid`` is."""
    tables: tuple[Table, ...]
    """The table; several for a TRUNCATE, none for a logical message."""
    old: RawValues | None = None
    """The old values and the format of each, TEXT or UNSENT; None if they were not sent."""
    new: RawValues | None = None
    """The new values; UNSENT are large values that an UPDATE did not change."""
    is_key_only: bool = False
    """Whether ``old`` has the columns of the replica identity only."""
    prefix: str = ""
    """The prefix of a logical message."""
    content: bytes = b""
    """The content of a logical message."""
    origin: str | None = None
    """The replication origin, if the publisher itself received the transaction by replication."""

    @property
    def table(self) -> Table:
        """The table of a row."""
        return self.tables[0]

    @property
    def commit_time(self) -> datetime:
        """The time of the commit."""
        return time_of(self.microseconds)


def change_name(change: FeedChange, table: Table | None = None) -> str:
    """Return the name of a change for error texts, with its only table unless one is given."""
    if table is None and len(change.tables) == 1:
        table = change.table
    return f"{change.lsn}, number {change.number}{'' if table is None else f', of {table}'}"


def not_encoded(change: FeedChange, found: str, table: Table | None = None) -> EncodingFailed:
    """Return the error for a change that cannot be encoded."""
    operation = f"encode the change {change_name(change, table)}"
    return EncodingFailed(operation, found, str(change.lsn), change.number)


_OPERATIONS = {
    ord("I"): FeedOperation.INSERT,
    ord("U"): FeedOperation.UPDATE,
    ord("D"): FeedOperation.DELETE,
    ord("T"): FeedOperation.TRUNCATE,
}


def changes_of(transaction: RawTransaction[Row], source: FeedSource) -> Iterator[FeedChange]:
    """Yield the changes of a transaction, numbered from 1."""
    end, xid, time, origin = (
        *(transaction.end_lsn, transaction.xid),
        *(transaction.microseconds, transaction.origin),
    )
    for number, (kind, readers, flag, old, new) in enumerate(transaction.changes(), 1):
        operation = _OPERATIONS.get(kind)
        if operation is not None:
            tables = (readers[0].table,) if len(readers) == 1 else _tables(readers)
            # Of a TRUNCATE, the flag says that it restarts sequences.
            is_key_only = flag and old is not None
            yield FeedChange(
                *(source, operation, end, number, xid, time, tables, old, new, is_key_only),
                origin=origin,
            )
        elif new is not None:
            prefix, content = new[0]
            yield FeedChange(
                *(source, FeedOperation.MESSAGE, end, number, xid, time, ()),
                prefix=(prefix or b"").decode("utf-8", "backslashreplace"),
                content=content or b"",
                origin=origin,
            )


def _tables(readers: Sequence[TableReader[Row]]) -> tuple[Table, ...]:
    return tuple(reader.table for reader in readers)
