"""pgoutput's messages: decoded if the server could have sent them, refused otherwise."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

import pgoutputs as sent
import pytest
from hypothesis import given, strategies as st

import pgreplkit
from pgreplkit import LSN
from pgreplkit.changes import (
    UNCHANGED,
    Begin,
    BeginPrepare,
    Change,
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
    Row,
    StreamAbort,
    StreamCommit,
    StreamStart,
    StreamStop,
    Truncate,
    Update,
    class_rows,
    dict_rows,
    tuple_rows,
)
from pgreplkit.errors import ValueNotLoadable
from pgreplkit.protocol.pgoutput.decoder import Decoder
from pgreplkit.protocol.pgoutput.options import names_of
from pgreplkit.protocol.pgoutput.rows import named_rows
from pgreplkit.protocol.pgoutput.tuples import LoadValues, RowReading

AT = LSN("0/99")
A_SECOND = datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC)
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def as_text(columns: Sequence[Column], binary: frozenset[int]) -> LoadValues:
    """Texts, and binary values as their hex digits."""

    def load(values: Sequence[bytes | None]) -> tuple[object, ...]:
        return tuple(
            None if v is None else v.hex() if at in binary else v.decode()
            for at, v in enumerate(values)
        )

    return load


def decoder() -> Decoder[Row]:
    return Decoder(RowReading(as_text, named_rows))


def decoded(*messages: bytes) -> list[Change[Row] | None]:
    taking = decoder()
    return [taking.decode(message, AT) for message in messages]


def last(*messages: bytes) -> Change[Row]:
    change = decoded(*messages)[-1]
    assert change is not None
    return change


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


def test_an_unchanged_toast_value_is_neither_null_nor_missing() -> None:
    change = last(sent.relation(), sent.update("1", ...))
    assert isinstance(change, Update)
    assert change.new["name"] is UNCHANGED
    assert pickle.loads(pickle.dumps(UNCHANGED)) is UNCHANGED
    assert repr(change.new) == "Row(id='1', name=UNCHANGED)"


def test_each_value_may_be_text_or_binary() -> None:
    taking = decoder()
    taking.decode(sent.relation(), AT)
    changes = [taking.decode(m, AT) for m in (sent.insert("1", b"\1"), sent.insert("2", b"\2"))]
    assert [c.new for c in changes if isinstance(c, Insert)] == [("1", "01"), ("2", "02")]


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


def test_table_definitions_of_a_streamed_transaction_are_private_until_commit() -> None:
    wide = [("id", 23, True), ("name", 25, False), ("more", 25, False)]
    changes = decoded(
        sent.relation(),
        sent.stream_start(5),
        sent.relation(columns=wide, xid=5),
        sent.insert("1", "a", "x", xid=6),
        sent.STREAM_STOP,
        sent.insert("2", "b"),
        sent.stream_start(5, first=False),
        sent.insert("3", "c", "y", xid=5),
        sent.STREAM_STOP,
        sent.stream_abort(5, 6),
        sent.stream_abort(9, 9, with_position=True),
        sent.stream_commit(5, 100),
        sent.insert("4", "d", "z"),
    )
    inserts = [c for c in changes if isinstance(c, Insert)]
    assert [(c.xid, len(c.new)) for c in inserts] == [(6, 3), (6, 2), (5, 3), (5, 3)]
    assert [c for c in changes if c is not None and not isinstance(c, Insert)] == [
        StreamStart(5, True),
        StreamStop(5),
        StreamStart(5, False),
        StreamStop(5),
        StreamAbort(5, 6),
        StreamAbort(9, 9, LSN(77), EPOCH),
        StreamCommit(5, LSN(100), LSN(148), A_SECOND),
    ]


def test_rows_decoded_before_an_alter_table_keep_their_table() -> None:
    narrow = [("id", 23, True)]
    before, _, after = decoded(
        sent.relation(), sent.insert("1", "a"), sent.relation(columns=narrow), sent.insert("2")
    )[1:]
    assert isinstance(before, Insert)
    assert isinstance(after, Insert)
    assert (before.new.keys(), after.new.keys()) == (("id", "name"), ("id",))
    assert (len(before.table.columns), len(after.table.columns)) == (2, 1)


def test_rows_can_be_read_by_name_and_by_position() -> None:
    row = named_rows(("id", "name"))((1, "a"))
    assert (row["id"], row[1], row[-1], row[:1]) == (1, "a", "a", (1,))
    assert (dict(row), row.as_dict()) == ({"id": 1, "name": "a"},) * 2
    assert (row.get("name"), row.get("no"), row.get("no", 5)) == ("a", None, 5)
    assert [*row] == [1, "a"]
    with pytest.raises(KeyError):
        row["no"]
    twin = pickle.loads(pickle.dumps(row))
    assert (twin, twin["name"], isinstance(twin, Row)) == (row, "a", True)
    with pytest.raises(TypeError):
        row["id"] = 2  # type: ignore[index]


def test_a_row_factory_builds_the_rows() -> None:
    class User:
        def __init__(self, id: str, name: str) -> None:
            self.pair = (id, name)

    for factory, expected in ((tuple_rows, ("1", "a")), (dict_rows, {"id": "1", "name": "a"})):
        taking: Decoder[object] = Decoder(RowReading(as_text, factory))
        taking.decode(sent.relation(), AT)
        change = taking.decode(sent.insert("1", "a"), AT)
        assert isinstance(change, Insert)
        assert change.new == expected
        assert type(change.new) is type(expected)
    users = Decoder(RowReading(as_text, class_rows(User)))
    users.decode(sent.relation(), AT)
    made = users.decode(sent.insert("1", "a"), AT)
    assert isinstance(made, Insert)
    assert made.new.pair == ("1", "a")
    # The key's columns alone may not be enough for a class.
    keyed = users.decode(sent.delete("1", None), AT)
    assert isinstance(keyed, Delete)
    assert isinstance(keyed.old, Row)


def test_the_error_names_a_value_that_cannot_be_loaded() -> None:
    def numbers(columns: Sequence[Column], binary: frozenset[int]) -> LoadValues:
        return lambda values: tuple(
            int(v or 0) if c.type_oid == 23 else v for v, c in zip(values, columns, strict=True)
        )

    taking = Decoder(RowReading(numbers, named_rows))
    taking.decode(sent.relation(), AT)
    with pytest.raises(ValueNotLoadable) as caught:
        taking.decode(sent.insert("one", "a"), AT)
    assert (caught.value.table, caught.value.column) == ("public.users", "id")
    assert "'one'" in str(caught.value)


VALID = [
    *(sent.begin(100), sent.commit(100), sent.relation(), sent.insert("1", "a")),
    *(sent.update("1", None), sent.update("2", ..., key=("1", None)), sent.delete("1", None)),
    *(sent.delete("1", "a", kind=b"O"), sent.truncate(7), sent.origin("pg_5")),
    *(sent.message(5, transactional=True), sent.type_told(5, "mood"), sent.begin_prepare(1)),
    *(sent.prepare(1), sent.prepare(1, kind=b"K"), sent.rollback_prepared(1)),
    *(sent.stream_start(5), sent.stream_commit(5, 1), sent.stream_abort(5, 6, with_position=True)),
]


@given(st.sampled_from(VALID), st.data())
def test_mutated_messages_are_decoded_or_refused(valid: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(valid)))
    end = data.draw(st.integers(start, min(len(valid), start + 4)))
    changed = valid[:start] + data.draw(st.binary(max_size=6)) + valid[end:]
    taking = decoder()
    taking.decode(sent.relation(), AT)
    with suppress(pgreplkit.errors.InvalidChangeMessage, ValueNotLoadable):
        taking.decode(changed, AT)


@given(st.binary())
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    with suppress(pgreplkit.errors.InvalidChangeMessage, ValueNotLoadable):
        decoder().decode(data, AT)


@given(st.sampled_from(VALID), st.data())
def test_truncated_messages_are_refused(valid: bytes, data: st.DataObject) -> None:
    taking = decoder()
    taking.decode(sent.relation(), AT)
    cut = valid[: data.draw(st.integers(0, len(valid) - 1))]
    # An abort may leave its position and time out.
    if cut != sent.stream_abort(5, 6):
        with pytest.raises(pgreplkit.errors.InvalidChangeMessage):
            taking.decode(cut, AT)
    with pytest.raises(pgreplkit.errors.InvalidChangeMessage):
        taking.decode(valid + b"\0", AT)


def test_a_change_of_an_unannounced_table_is_refused() -> None:
    with pytest.raises(pgreplkit.errors.InvalidChangeMessage):
        decoder().decode(sent.insert("1", "a"), AT)


def test_publication_names_are_quoted_in_the_options() -> None:
    assert names_of(["p", "q"]) == ("p", "q")
    for wrong in ("p", [1], [b"p"]):
        with pytest.raises(TypeError, match="publication"):
            names_of(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one publication"):
        names_of([])
