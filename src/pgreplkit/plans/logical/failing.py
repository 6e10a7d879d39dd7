"""FailedTransaction: the transaction that a subscription cannot get over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import cast

import attrs

from pgreplkit.catalog.logical.publication import Operation
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
from pgreplkit.values.tablename import TableName


@attrs.frozen(kw_only=True)
class FailedChange:
    """One change of that transaction, with its values as text.

    A value that was not changed, and is too large to be sent for nothing, is left out of ``new``.
    """

    operation: Operation
    table: TableName
    old: dict[str, str | None] | None
    """The old row's replica identity; with REPLICA IDENTITY FULL all of it."""
    new: dict[str, str | None] | None


@attrs.frozen(kw_only=True)
class FailedTransaction:
    """The first transaction that the publisher has and the subscriber could not apply.

    Source: pg_logical_slot_peek_binary_changes() on the publisher; the subscriber's log.
    """

    finish_lsn: LSN
    """What ``skip`` takes; the server's log calls it "finished at"."""
    xid: int
    """Its ID on the publisher."""
    commit_time: datetime
    """When it was committed there, or prepared where that is what is sent."""
    changes: tuple[FailedChange, ...]
    """Its first changes."""
    error: str | None = None
    """What the subscriber's log says of it, where that can be read (15 on)."""


def first_failed(messages: Iterable[tuple[LSN, bytes]], after: LSN) -> FailedTransaction | None:
    """The first transaction with changes that ends after that position, from pgoutput's messages.

    None when there is none among them.
    """
    decoder, begun = Decoder(RowReading(_as_text, dict_rows)), None
    changes: list[FailedChange] = []
    for lsn, data in messages:
        change = decoder.decode(data, lsn)
        if isinstance(change, Begin | BeginPrepare):
            if changes:
                break
            begun = _begun(change)
        elif begun is not None and begun.finish_lsn >= after:
            changes += _failed_changes(change)
    if begun is None or not changes:
        return None
    return attrs.evolve(begun, changes=tuple(changes))


def _begun(begin: Begin | BeginPrepare) -> FailedTransaction:
    # A slot with two_phase sends what is prepared at once, whatever protocol is asked for.
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
    """Values as the texts that they are sent as."""
    return lambda sent: tuple(
        None if value is None else value.decode("utf-8", "backslashreplace") for value in sent
    )


def logged_error(log: str, oid: int, finish_lsn: LSN) -> str | None:
    """What a server's log says last of a transaction of a subscription; None when it is not there.

    The lines of one error follow each other, each with the same beginning.
    """
    context = re.compile(rf'"pg_{oid}" .*\b{finish_lsn}\b')
    found = None
    lines: list[str] = []
    for line in log.splitlines():
        if "ERROR:" in line:
            lines = [line.split("ERROR:", 1)[1].strip()]
        elif "DETAIL:" in line and lines:
            lines.append(line.split("DETAIL:", 1)[1].strip())
        elif "CONTEXT:" in line and lines and context.search(line):
            found = "; ".join([*lines, line.split("CONTEXT:", 1)[1].strip()])
    return found
