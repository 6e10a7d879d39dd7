"""The sequences of a mesh: no two nodes draw the same number."""

from __future__ import annotations

import attrs
import pytest

from pgreplkit.errors import ServerError
from pgreplkit.plans.mesh.sequences import collisions, spread
from pgreplkit.rows import SequenceState
from pgreplkit.values.tablename import TableName


def sequence(next_value: int = 1, *, increment: int = 1, maximum: int = 2**31 - 1) -> SequenceState:
    return SequenceState(
        name=TableName("public", "users_id_seq"),
        data_type="integer",
        start=1,
        minimum=1,
        maximum=maximum,
        increment=increment,
        cycle=False,
        cache=1,
        owner="public.users.id",
        is_identity=False,
        last_value=next_value,
        is_called=False,
    )


def test_sequences_collide_unless_they_are_spread_or_have_other_ranges() -> None:
    assert collisions({"a": [sequence()], "b": [sequence(5000)]})
    assert collisions({"a": [sequence(1, increment=2)], "b": [sequence(3, increment=2)]})
    assert not collisions({"a": [sequence(1, increment=2)], "b": [sequence(2, increment=2)]})
    low, high = sequence(maximum=9), attrs.evolve(sequence(10), minimum=10)
    assert not collisions({"a": [low], "b": [high]})


@pytest.mark.parametrize("nodes", [2, 3, 7])
def test_spread_sequences_never_meet_and_start_above_all_numbers_drawn(nodes: int) -> None:
    names = [f"n{place}" for place in range(nodes)]
    states = {name: [sequence(100 * place + 1)] for place, name in enumerate(names)}
    drawn = {
        change.node: {change.restart + change.increment * k for k in range(100)}
        for change in spread(states)
    }
    everything = [number for numbers in drawn.values() for number in numbers]
    assert len({*everything}) == len(everything)
    assert min(everything) > 100 * (nodes - 1) + 1


def test_spread_numbers_are_multiples_of_the_nodes_apart() -> None:
    drawn = attrs.evolve(sequence(10), is_called=True)
    changes = spread({"a": [sequence(7)], "b": [drawn]})
    # 10 was drawn, and 1000 more may be until then.
    assert [(one.node, one.increment, one.restart) for one in changes] == [
        ("a", 2, 1013),
        ("b", 2, 1014),
    ]
    assert changes[0].sql == "ALTER SEQUENCE public.users_id_seq INCREMENT BY 2 RESTART WITH 1013"
    assert len(spread({"a": [sequence(maximum=4)], "b": [sequence(maximum=4)]})) == 2
    with pytest.raises(ServerError, match="on b would be 4, and its maximum is 3"):
        spread({"a": [sequence(maximum=4)], "b": [sequence(maximum=3)]})


def test_a_sequence_without_numbers_left_is_not_spread() -> None:
    with pytest.raises(ServerError, match="larger type"):
        spread({"a": [sequence(30_000, maximum=30_001)], "b": [sequence(maximum=30_001)]})
    with pytest.raises(ServerError, match="counts down"):
        spread({"a": [sequence(increment=-1)], "b": [sequence()]})
