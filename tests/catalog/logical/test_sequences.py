"""Sequences."""

from __future__ import annotations

import pytest

from pgreplkit.catalog.logical.sequences import sequence_in


def record(owner: list[str] | None) -> dict[str, object]:
    return {
        "schema": "public",
        "name": "users_id_seq",
        "data_type": "bigint",
        "start": 1,
        "minimum": 1,
        "maximum": 100,
        "increment": 5,
        "cycle": False,
        "cache": 1,
        "owner": owner,
        "is_identity": True,
    }


@pytest.mark.parametrize(("is_called", "following"), [(False, 7), (True, 12)])
def test_the_next_value_is_the_last_one_until_it_was_returned(
    is_called: bool, following: int
) -> None:
    sequence = sequence_in(record(None), 7, is_called)
    assert (sequence.next_value, sequence.owner) == (following, None)


def test_the_owner_is_a_column_with_quoted_names() -> None:
    sequence = sequence_in(record(["public", "Users", "id"]), 1, False)
    assert sequence.owner == 'public."Users".id'
