"""Decoded messages of pgoutput, for tests of the objects that are built from them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pgreplkit import LSN
from pgreplkit.changes import Change, Column, Row
from pgreplkit.protocol.pgoutput.decoder import Decoder
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
