"""UNCHANGED: the value that the server did not send."""

from __future__ import annotations

import pickle

import pgoutputs as sent
from decoding import last

from pgreplkit.changes import UNCHANGED, Update


def test_an_unchanged_toast_value_is_neither_null_nor_missing() -> None:
    change = last(sent.relation(), sent.update("1", ...))
    assert isinstance(change, Update)
    assert change.new["name"] is UNCHANGED
    assert pickle.loads(pickle.dumps(UNCHANGED)) is UNCHANGED
    assert repr(change.new) == "Row(id='1', name=UNCHANGED)"
