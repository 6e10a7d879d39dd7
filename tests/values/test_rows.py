"""Rows: a list with a text."""

from __future__ import annotations

import pickle

from serverfacts import REPLICAS

from pgreplkit.values.rows import Rows


def test_rows_are_a_list_with_slices_text_and_pickles() -> None:
    assert [*REPLICAS] == REPLICAS
    assert isinstance(REPLICAS[1:], Rows)
    assert REPLICAS[1:][0] is REPLICAS[1]
    assert pickle.loads(pickle.dumps(REPLICAS)) == REPLICAS
    head, first, *_ = str(REPLICAS).splitlines()
    assert head.split()[:3] == ["application_name", "state", "sync_state"]
    assert first.split()[:4] == ["a", "streaming", "async", "0/3000000"]
    assert str(Rows[object]()) == "no rows"
    assert REPLICAS.to_dicts()[0] == REPLICAS[0].to_dict()
