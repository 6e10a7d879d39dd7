"""FailedTransaction: the transaction that a subscription cannot get over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime

import attrs

from pgreplkit.catalog.publications import Operation
from pgreplkit.protocol.pgoutput import (
    Begin,
    PgOutput,
    RawValue,
    Relation,
    RowChange,
    TableTruncation,
    Unchanged,
)
from pgreplkit.values.lsn import LSN
from pgreplkit.values.tablename import TableName

# What a slot with two_phase sends whatever protocol is asked for, from 15 on.
_BEGIN_PREPARE, _ENDS_OF_PREPARED = b"b", {b"P", b"K", b"r"}
_KINDS = {"I": Operation.INSERT, "U": Operation.UPDATE, "D": Operation.DELETE}


@attrs.frozen(kw_only=True)
class FailedChange:
    """One change of that transaction, with its values as text.

    A value that was not changed, and is too large to be sent for nothing, is left out of ``new``.
    """

    __module__ = "pgreplkit"

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

    __module__ = "pgreplkit"

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


def first_failed(messages: Iterable[bytes], after: LSN) -> FailedTransaction | None:
    """The first transaction with changes that ends after that position, from pgoutput's messages.

    None when there is none among them.
    """
    decoder, begin = PgOutput(), None
    changes: list[FailedChange] = []
    for data in messages:
        if data[:1] in _ENDS_OF_PREPARED:
            continue
        if data[:1] == _BEGIN_PREPARE:
            # What is sent when it is prepared begins so: with what BEGIN has, and more.
            data = b"B" + data[1:9] + data[17:29]
        message = decoder.decode(data)
        if isinstance(message, Begin):
            if changes:
                break
            begin = message
        elif begin is not None and begin.finish_lsn >= after:
            if isinstance(message, RowChange):
                changes.append(_change(message))
            elif isinstance(message, TableTruncation):
                changes += _truncations(message)
    if begin is None or not changes:
        return None
    return FailedTransaction(
        finish_lsn=begin.finish_lsn,
        xid=begin.xid,
        commit_time=begin.commit_time,
        changes=tuple(changes),
    )


def _change(message: RowChange) -> FailedChange:
    old = None
    if message.old is not None:
        values = _values(message.relation, message.old)
        keys = {column.name for column in message.relation.columns if column.is_key}
        old = {name: value for name, value in values.items() if name in keys or value is not None}
    return FailedChange(
        operation=_KINDS[message.kind],
        table=message.relation.table,
        old=old,
        new=None if message.new is None else _values(message.relation, message.new),
    )


def _truncations(message: TableTruncation) -> Iterator[FailedChange]:
    for relation in message.relations:
        yield FailedChange(operation=Operation.TRUNCATE, table=relation.table, old=None, new=None)


def _values(relation: Relation, row: tuple[RawValue, ...]) -> dict[str, str | None]:
    return {
        column.name: value.decode("utf-8", "backslashreplace") if value is not None else None
        for column, value in zip(relation.columns, row, strict=True)
        if not isinstance(value, Unchanged)
    }


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
