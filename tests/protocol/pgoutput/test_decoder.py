"""pgoutput's messages: decoded if the server could have sent them, refused otherwise."""

from __future__ import annotations

from contextlib import suppress

import pgoutputs as sent
import pytest
from decoding import A_SECOND, AT, EPOCH, decoded, decoder
from hypothesis import given, strategies as st

import pgreplkit
from pgreplkit import LSN
from pgreplkit.changes import Insert, StreamAbort, StreamCommit, StreamStart, StreamStop
from pgreplkit.errors import ValueNotLoadable


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
