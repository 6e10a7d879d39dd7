"""The changes that pgoutput's messages become."""

from __future__ import annotations

from datetime import datetime

import pgoutputs as sent
from decoding import A_SECOND, AT, EPOCH, decoded, last

from pgreplkit import LSN
from pgreplkit.changes import (
    Begin,
    BeginPrepare,
    Column,
    Commit,
    CommitPrepared,
    Delete,
    Insert,
    Message,
    Origin,
    Prepare,
    RelationIdentity,
    RollbackPrepared,
    Truncate,
    Update,
)


def test_the_messages_of_a_transaction_are_decoded() -> None:
    relation, begin, origin, insert, commit = decoded(
        sent.relation(),
        sent.begin(100),
        sent.origin("pg_7"),
        sent.insert("1", "a"),
        sent.commit(100),
    )
    assert relation is None
    assert begin == Begin(LSN(100), A_SECOND, 5)
    assert origin == Origin(LSN(9), "pg_7")
    assert isinstance(insert, Insert)
    assert (insert.lsn, insert.xid, insert.new) == (AT, 5, ("1", "a"))
    assert commit == Commit(LSN(100), LSN(148), A_SECOND)
    table = insert.table
    assert (str(table), table.oid, table.replica_identity) == (
        "public.users",
        7,
        RelationIdentity.DEFAULT,
    )
    assert table.columns == (Column("id", 23, -1, True), Column("name", 25, -1, False))
    assert table.key == table.columns[:1]


def test_old_rows_follow_the_replica_identity() -> None:
    plain = last(sent.relation(), sent.update("1", "b"))
    keyed = last(sent.relation(), sent.update("2", "b", key=("1", None)))
    full = last(sent.relation(), sent.update("1", "b", old=("1", None)))
    assert isinstance(plain, Update)
    assert isinstance(keyed, Update)
    assert isinstance(full, Update)
    assert plain.old is None
    # Columns outside the key are sent as NULL, whatever their values were.
    assert (dict(keyed.old or {}), keyed.new["id"]) == ({"id": "1"}, "2")
    assert dict(full.old or {}) == {"id": "1", "name": None}
    of_key = last(sent.relation(), sent.delete("1", None))
    whole = last(sent.relation(), sent.delete("1", None, kind=b"O"))
    assert isinstance(of_key, Delete)
    assert isinstance(whole, Delete)
    assert (dict(of_key.old), dict(whole.old)) == ({"id": "1"}, {"id": "1", "name": None})


def test_the_other_messages_are_decoded() -> None:
    second = sent.relation(8, name="other")
    truncate = last(sent.relation(), second, sent.truncate(7, 8, options=3))
    assert isinstance(truncate, Truncate)
    assert [str(table) for table in truncate.tables] == ["public.users", "public.other"]
    assert (truncate.cascade, truncate.restart_identity) == (True, True)
    inside = last(sent.begin(100), sent.message(60, transactional=True))
    assert inside == Message(LSN(60), 5, True, "prefix", b"hi")
    alone = last(sent.begin(100), sent.commit(100), sent.message(200, transactional=False))
    assert isinstance(alone, Message)
    assert (alone.xid, alone.end_lsn) == (0, LSN(200))
    change = last(
        sent.type_told(9999, "mood"), sent.relation(columns=[("m", 9999, False)]), sent.insert("a")
    )
    assert isinstance(change, Insert)
    assert str(change.table.columns[0].type_name) == "public.mood"


def test_the_messages_of_prepared_transactions_are_decoded() -> None:
    assert decoded(
        sent.begin_prepare(100),
        sent.prepare(100),
        sent.prepare(200, kind=b"K"),
        sent.rollback_prepared(300),
        sent.prepare(400, kind=b"p"),
    ) == [
        BeginPrepare(LSN(100), LSN(148), EPOCH, 5, "g"),
        Prepare(LSN(100), LSN(148), EPOCH, 5, "g"),
        CommitPrepared(LSN(200), LSN(248), EPOCH, 5, "g"),
        RollbackPrepared(LSN(300), LSN(348), EPOCH, last_of(1), 5, "g"),
        Prepare(LSN(400), LSN(448), EPOCH, 5, "g", is_streamed=True),
    ]


def last_of(microseconds: int) -> datetime:
    return EPOCH.replace(microsecond=microseconds)
