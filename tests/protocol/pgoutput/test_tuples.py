"""The values of rows, loaded from texts and from binary data."""

from __future__ import annotations

from collections.abc import Sequence

import pgoutputs as sent
import pytest
from decoding import AT, decoder

from pgreplkit.changes import Column, Insert
from pgreplkit.errors import ValueNotLoadable
from pgreplkit.protocol.pgoutput.decoder import Decoder
from pgreplkit.protocol.pgoutput.rows import named_rows
from pgreplkit.protocol.pgoutput.tuples import LoadValues, RowReading


def test_each_value_may_be_text_or_binary() -> None:
    taking = decoder()
    taking.decode(sent.relation(), AT)
    changes = [taking.decode(m, AT) for m in (sent.insert("1", b"\1"), sent.insert("2", b"\2"))]
    assert [c.new for c in changes if isinstance(c, Insert)] == [("1", "01"), ("2", "02")]


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
