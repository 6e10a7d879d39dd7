"""Transactions whose values stay as the server sent them."""

from __future__ import annotations

import pgoutputs as po
import pytest
from applyfacts import transaction

from pgreplkit.errors import InvalidChangeMessage


def test_raw_changes_survive_a_spool_in_a_file() -> None:
    changes = [po.insert(n, "a", None) for n in range(50)]
    small, large = transaction(*changes, memory_limit=100), transaction(*changes)
    assert [change[4] for change in small.changes()] == [change[4] for change in large.changes()]
    assert small.size < large.size


def test_a_truncated_raw_change_is_refused() -> None:
    with pytest.raises(InvalidChangeMessage):
        list(transaction(po.insert(1, "abc", 5)[:-3]).changes())
