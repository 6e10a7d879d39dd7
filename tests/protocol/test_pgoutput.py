"""pgoutput's messages: taken apart as they are put together, and refused when they are not."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

import pgreplkit
from pgreplkit import LSN, FailedTransaction, Operation, TableName
from pgreplkit.plans.failing import first_failed, logged_error
from pgreplkit.protocol.pgoutput import (
    Begin,
    PgOutput,
    PgOutputMessage,
    Relation,
    RowChange,
    TableTruncation,
    Unchanged,
)


def relation(oid: int = 7) -> bytes:
    columns = b"\1id\0" + struct.pack(">Ii", 23, -1) + b"\0name\0" + struct.pack(">Ii", 25, -1)
    return b"R" + struct.pack(">I", oid) + b"public\0users\0d" + struct.pack(">h", 2) + columns


def row(*values: str | Unchanged | None) -> bytes:
    parts = [struct.pack(">h", len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif isinstance(value, Unchanged):
            parts.append(b"u")
        else:
            parts.append(b"t" + struct.pack(">I", len(value.encode())) + value.encode())
    return b"".join(parts)


def begin(finish: int, xid: int = 5) -> bytes:
    return b"B" + struct.pack(">QqI", finish, 1_000_000, xid)


def commit(finish: int) -> bytes:
    return b"C\0" + struct.pack(">QQq", finish, finish + 48, 1_000_000)


OID = struct.pack(">I", 7)
INSERT = b"I" + OID + b"N" + row("1", "a")
UPDATE = b"U" + OID + b"N" + row("1", None)
KEY_UPDATE = b"U" + OID + b"K" + row("1", None) + b"N" + row("2", Unchanged())
DELETE = b"D" + OID + b"K" + row("1", None)
FULL_DELETE = b"D" + OID + b"O" + row("1", "a")
TRUNCATE = b"T" + struct.pack(">I", 1) + b"\0" + OID
VALID = [
    *(begin(100), commit(100), relation(), INSERT, UPDATE, KEY_UPDATE, DELETE, FULL_DELETE),
    *(TRUNCATE, b"O" + bytes(8) + b"pg_5\0", b"Ywhatever", b"Mwhatever"),
]


def decoded(*messages: bytes) -> list[PgOutputMessage]:
    decoder = PgOutput()
    return [decoder.decode(message) for message in (relation(), *messages)]


def test_each_kind_is_taken_apart() -> None:
    table, first, insert, update, keyed, delete, full, truncate = decoded(
        begin(100), INSERT, UPDATE, KEY_UPDATE, DELETE, FULL_DELETE, TRUNCATE
    )
    assert isinstance(table, Relation)
    assert table.table == TableName("public", "users")
    assert [(c.name, c.type_oid, c.is_key) for c in table.columns] == [
        ("id", 23, True),
        ("name", 25, False),
    ]
    assert isinstance(first, Begin)
    assert (first.finish_lsn, first.xid) == (LSN(100), 5)
    assert first.commit_time.isoformat() == "2000-01-01T00:00:01+00:00"
    assert insert == RowChange("I", table, None, (b"1", b"a"))
    assert update == RowChange("U", table, None, (b"1", None))
    assert isinstance(keyed, RowChange)
    assert keyed.old == (b"1", None)
    assert keyed.new is not None
    assert isinstance(keyed.new[1], Unchanged)
    assert delete == RowChange("D", table, (b"1", None), None)
    assert full == RowChange("D", table, (b"1", b"a"), None)
    assert truncate == TableTruncation((table,))


@given(st.sampled_from(VALID), st.data())
def test_what_is_changed_is_a_message_or_refused(valid: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(valid)))
    end = data.draw(st.integers(start, min(len(valid), start + 4)))
    changed = valid[:start] + data.draw(st.binary(max_size=6)) + valid[end:]
    decoder = PgOutput()
    decoder.decode(relation())
    with suppress(pgreplkit.InvalidChangeMessage):
        decoder.decode(changed)


@given(st.sampled_from([v for v in VALID if v[:1] not in b"OYM"]), st.data())
def test_what_is_cut_off_is_refused(valid: bytes, data: st.DataObject) -> None:
    decoder = PgOutput()
    decoder.decode(relation())
    with pytest.raises(pgreplkit.InvalidChangeMessage):
        decoder.decode(valid[: data.draw(st.integers(0, len(valid) - 1))])
    with pytest.raises(pgreplkit.InvalidChangeMessage):
        decoder.decode(valid + b"\0")


def test_a_table_that_was_not_told_is_refused() -> None:
    with pytest.raises(pgreplkit.InvalidChangeMessage):
        PgOutput().decode(INSERT)


def failed(after: int, *messages: bytes) -> FailedTransaction | None:
    return first_failed(messages, LSN(after))


def test_the_first_transaction_with_changes_after_a_position_is_the_one() -> None:
    applied = [begin(100, 1), relation(), INSERT, commit(100)]
    empty = [begin(200, 2), commit(200)]
    next_one = [begin(300, 3), KEY_UPDATE, TRUNCATE, commit(300)]
    later = [begin(400, 4), INSERT, commit(400)]
    found = failed(148, *applied, *empty, *next_one, *later)
    assert found is not None
    assert (found.finish_lsn, found.xid) == (LSN(300), 3)
    assert [(c.operation, c.old, c.new) for c in found.changes] == [
        (Operation.UPDATE, {"id": "1"}, {"id": "2"}),
        (Operation.TRUNCATE, None, None),
    ]
    assert failed(148, *applied, *empty) is None
    assert failed(0) is None


LOG = """\
2026-11-24 10:00:00 UTC [1] LOG:  logical replication apply worker for subscription "s" has started
2026-11-24 10:00:00 UTC [1] ERROR:  duplicate key value violates unique constraint "two_pkey"
2026-11-24 10:00:00 UTC [1] DETAIL:  Key (id)=(500) already exists.
2026-11-24 10:00:00 UTC [1] CONTEXT:  processing remote data for replication origin "pg_{}" \
during message type "INSERT" for replication target relation "public.two" in \
transaction 741, finished at {}
"""


def test_the_log_is_read_for_that_transaction_alone() -> None:
    log = LOG.format(16400, "0/1566D10") + LOG.format(16401, "0/999")
    said = logged_error(log, 16400, LSN("0/1566D10"))
    assert said is not None
    assert said.startswith('duplicate key value violates unique constraint "two_pkey"; Key (id)')
    assert logged_error(log, 16400, LSN("0/1566D1")) is None
    assert logged_error(log, 1640, LSN("0/1566D10")) is None
    assert logged_error("", 1, LSN(1)) is None
