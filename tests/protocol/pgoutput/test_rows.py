"""Rows by name and by position, and those of other factories."""

from __future__ import annotations

import pickle

import pgoutputs as sent
import pytest
from decoding import AT, as_text

from pgreplkit.changes import Delete, Insert, Row, class_rows, dict_rows, tuple_rows
from pgreplkit.protocol.pgoutput.decoder import Decoder
from pgreplkit.protocol.pgoutput.rows import named_rows
from pgreplkit.protocol.pgoutput.tuples import RowReading


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
