"""FailedTransaction: the transaction that a subscription cannot apply."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import cast

import attrs

from pgreplkit.catalog.logical.publication import Operation
from pgreplkit.plans.logical.serverlog import apply_context, log_entries
from pgreplkit.protocol.pgoutput.decoder import Decoder
from pgreplkit.protocol.pgoutput.messages import (
    Begin,
    BeginPrepare,
    Change,
    Delete,
    Insert,
    Truncate,
    Update,
)
from pgreplkit.protocol.pgoutput.rows import UNCHANGED, Row, dict_rows
from pgreplkit.protocol.pgoutput.tables import Column, Table
from pgreplkit.protocol.pgoutput.tuples import LoadValues, RowReading
from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record
from pgreplkit.values.tablename import TableName


@attrs.frozen(kw_only=True)
class FailedChange(Record):
    """One change of a failed transaction, with its values as text.

    A large value that did not change is not sent, and is missing in ``new``.
    """

    operation: Operation
    table: TableName
    old: dict[str, str | None] | None
    """The old row's replica identity; with REPLICA IDENTITY FULL the whole row."""
    new: dict[str, str | None] | None


@attrs.frozen(kw_only=True)
class FailedTransaction(Record):
    """The first transaction that the publisher has and the subscriber could not apply.

    Source: pg_logical_slot_peek_binary_changes() on the publisher; the subscriber's log.
    """

    finish_lsn: LSN
    """The argument of ``skip``; the server's log calls it "finished at"."""
    xid: int
    """Its transaction ID on the publisher."""
    commit_time: datetime
    """When it was committed on the publisher, or prepared in case of two_phase."""
    changes: tuple[FailedChange, ...]
    """Its first changes."""
    error: str | None = None
    """The error in the subscriber's log, if that can be read (15 on)."""


def first_failed(messages: Iterable[tuple[LSN, bytes]], after: LSN) -> FailedTransaction | None:
    """Return the first transaction with changes that ends at or after a position, or None.

    The messages are pgoutput's.
    """
    decoder, begun = Decoder(RowReading(_as_text, dict_rows)), None
    changes: list[FailedChange] = []
    for lsn, data in messages:
        change = decoder.decode(data, lsn)
        if isinstance(change, Begin | BeginPrepare):
            # Everything up to here belongs to the first transaction.
            if changes:
                break
            begun = _begun(change)
        # The worker stores the end of the last applied transaction; one that ends there or later
        # is not applied.
        elif begun is not None and begun.finish_lsn >= after:
            changes += _failed_changes(change)
    if begun is None or not changes:
        return None
    return attrs.evolve(begun, changes=tuple(changes))


def _begun(begin: Begin | BeginPrepare) -> FailedTransaction:
    # A slot with two_phase sends a transaction when it is prepared, whatever the protocol version.
    return FailedTransaction(
        finish_lsn=begin.prepare_lsn if isinstance(begin, BeginPrepare) else begin.commit_lsn,
        xid=begin.xid,
        commit_time=begin.prepare_time if isinstance(begin, BeginPrepare) else begin.commit_time,
        changes=(),
    )


def _failed_changes(change: Change[dict[str, object]] | None) -> Iterator[FailedChange]:
    match change:
        case Insert(table=table, new=new):
            yield _failed(Operation.INSERT, table, None, new)
        case Update(table=table, old=old, new=new):
            yield _failed(Operation.UPDATE, table, old, new)
        case Delete(table=table, old=old):
            yield _failed(Operation.DELETE, table, old, None)
        case Truncate(tables=tables):
            for table in tables:
                yield _failed(Operation.TRUNCATE, table, None, None)


def _failed(
    operation: Operation,
    table: Table,
    old: Row | dict[str, object] | None,
    new: dict[str, object] | None,
) -> FailedChange:
    return FailedChange(
        operation=operation,
        table=table.table_name,
        old=None if old is None else _texts(dict(old)),
        new=None if new is None else _texts(new),
    )


def _texts(values: dict[str, object]) -> dict[str, str | None]:
    return {name: cast(str | None, v) for name, v in values.items() if v is not UNCHANGED}


def _as_text(columns: Sequence[Column], binary: frozenset[int]) -> LoadValues:
    """Load values as the texts that were sent."""
    return lambda sent: tuple(
        None if value is None else value.decode("utf-8", "backslashreplace") for value in sent
    )


def logged_error(log: str, oid: int, finish_lsn: LSN) -> str | None:
    """Return the last error in a server's log about a transaction of a subscription, or None."""
    error = None
    for entry in log_entries(log):
        context = apply_context(entry.context)
        if entry.is_error and context and (context.oid, context.finish_lsn) == (oid, finish_lsn):
            # The last one: the reason may have changed between two attempts.
            error = "; ".join(filter(None, [entry.message, entry.detail, entry.context]))
    return error
