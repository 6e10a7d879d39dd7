"""The tables that the server describes before their rows."""

from __future__ import annotations

import pgoutputs as sent
from decoding import decoded

from pgreplkit.changes import Insert


def test_rows_decoded_before_an_alter_table_keep_their_table() -> None:
    narrow = [("id", 23, True)]
    before, _, after = decoded(
        sent.relation(), sent.insert("1", "a"), sent.relation(columns=narrow), sent.insert("2")
    )[1:]
    assert isinstance(before, Insert)
    assert isinstance(after, Insert)
    assert (before.new.keys(), after.new.keys()) == (("id", "name"), ("id",))
    assert (len(before.table.columns), len(after.table.columns)) == (2, 1)
