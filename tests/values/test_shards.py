"""ShardMap: its laws, and its conditions. tests/live compares it with servers."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from time import process_time
from timeit import repeat
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from pgreplkit import ShardMap
from pgreplkit.errors import InvalidValue

FLOAT: Any = float
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
keys = texts | st.integers(-(1 << 63), (1 << 63) - 1) | st.uuids()
maps = (
    st.integers(0, 10).map(lambda n: ShardMap(1 << n))
    | st.integers(1, 50).map(lambda n: ShardMap(n, modular=True))
    | st.integers(1, 50).map(ShardMap.partitions)
)


@given(maps, keys)
def test_doubling_splits_each_shard_into_two(shards: ShardMap, key: str | int | UUID) -> None:
    index, after = shards.index(key), shards.doubled().index(key)
    assert 0 <= index < shards.count
    assert after in (index, index + shards.count)


@given(st.integers(1, 12), st.integers(1, 12), keys)
def test_a_key_moves_as_the_maps_say(before: int, after: int, key: str | int | UUID) -> None:
    for old, new in (
        (ShardMap(before, modular=True), ShardMap(after, modular=True)),
        (ShardMap.partitions(before), ShardMap.partitions(after)),
    ):
        move = old.index(key), new.index(key)
        moves = old.moves_to(new)
        assert (move in moves) is (move[0] != move[1])
        assert sum(moves.values()) <= 1


def test_the_share_that_moves_is_exact() -> None:
    assert sum(ShardMap(2).moves_to(ShardMap(4)).values()) == Fraction(1, 2)
    modular = ShardMap(3, modular=True).moves_to(ShardMap(4, modular=True))
    assert sum(modular.values()) == Fraction(3, 4)
    with pytest.raises(ValueError, match="different rules"):
        ShardMap(4).moves_to(ShardMap.partitions(4))


def test_conditions_are_quoted() -> None:
    assert ShardMap(4).where(3, column="Na me") == '(hashtext("Na me") & 3) = 3'
    modular = ShardMap(3, modular=True)
    assert modular.where(1, column="id", key_type=int) == "abs(mod(hashint8(id), 3)) = 1"
    assert ShardMap(1).where(0, column="k", key_type=UUID) == "(uuid_hash(k) & 0) = 0"
    condition = ShardMap.partitions(5).where(4, column=("a", "B"), partitioned='"it\'s".t')
    assert condition == ("satisfies_hash_partition('\"it''s\".t'::regclass, 5, 4, a, \"B\")")


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (ValueError, "from 1 to", lambda: ShardMap(0)),
        (ValueError, r"modular=True\) or ShardMap.partitions\(3\)", lambda: ShardMap(3)),
        (TypeError, "an int, not bool", lambda: ShardMap(True)),
        (ValueError, "one of the two", lambda: ShardMap(2, modular=True, of_partitions=True)),
        (ValueError, "from 0 to 3", lambda: ShardMap(4).where(4, column="a")),
        (ValueError, "one column, got 2", lambda: ShardMap(4).where(1, column=("a", "b"))),
        (ValueError, "has no", lambda: ShardMap(4).where(1, column="a", partitioned="t")),
        (ValueError, "needs", lambda: ShardMap.partitions(4).where(1, column="a")),
        (TypeError, "key_type", lambda: ShardMap(4).where(1, column="a", key_type=FLOAT)),
        (TypeError, "not None", lambda: ShardMap(4).index(None)),
        (TypeError, "not None", lambda: ShardMap(4).index("a", "b")),
        (TypeError, "at least one", lambda: ShardMap.partitions(4).index()),
        (TypeError, "not bool", lambda: ShardMap(4).index(True)),
        (TypeError, "not float", lambda: ShardMap(4).index(1.5)),  # type: ignore[arg-type]
        (InvalidValue, "surrogate", lambda: ShardMap(4).index("\ud800")),
        (InvalidValue, "zero byte", lambda: ShardMap(4).index("a\0")),
        (InvalidValue, "bigint", lambda: ShardMap(4).index(1 << 63)),
    ],
)  # fmt: skip
def test_keys_and_maps_that_no_server_has_are_refused(
    error: type[Exception], text: str, call: object
) -> None:
    assert callable(call)
    with pytest.raises(error, match=text):
        call()


@pytest.mark.alone
def test_the_shard_of_a_key_is_found_in_25_microseconds() -> None:
    for shards in (ShardMap(64), ShardMap.partitions(64)):
        find = partial(shards.index, "name@example.org")
        # Of this process: those of other processes on the machine do not count.
        times = repeat(find, timer=process_time, number=1000, repeat=5)
        assert min(times) / 1000 <= 25e-6
