"""SequenceSpread: a sequence whose numbers the nodes of a mesh draw in turn."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import attrs

from pgreplkit.catalog.logical.sequences import SequenceState
from pgreplkit.errors import ServerError
from pgreplkit.values.record import Record
from pgreplkit.values.tablename import TableName

_MARGIN = 1000
"""Numbers left out for each node, which clients may draw before its sequence is altered."""


@attrs.frozen(kw_only=True)
class SequenceSpread(Record):
    """The change to the sequence of one node, so that no other node draws its numbers."""

    node: str
    name: TableName
    increment: int
    restart: int
    """The next number."""

    @property
    def sql(self) -> str:
        """The statement that alters the sequence."""
        return (
            f"ALTER SEQUENCE {self.name} INCREMENT BY {self.increment} RESTART WITH {self.restart}"
        )


def collisions(nodes: Mapping[str, Sequence[SequenceState]]) -> list[str]:
    """Return which sequences of two nodes can draw the same number."""
    by_name: dict[TableName, list[tuple[str, SequenceState]]] = {}
    for node, states in nodes.items():
        for state in states:
            by_name.setdefault(state.name, []).append((node, state))
    return [
        f"{name} of {', '.join(node for node, _ in holders)}"
        for name, holders in sorted(by_name.items())
        if any(_collide(a, b) for (_, a), (_, b) in combinations(holders, 2))
    ]


def _collide(one: SequenceState, other: SequenceState) -> bool:
    # Ranges apart, as some people set them up by hand.
    if one.maximum < other.minimum or other.maximum < one.minimum:
        return False
    step = abs(one.increment)
    # With equal steps, sequences that are apart now stay apart.
    return abs(other.increment) != step or (one.next_value - other.next_value) % step == 0


def spread(nodes: Mapping[str, Sequence[SequenceState]]) -> list[SequenceSpread]:
    """Return the change to each sequence; ``nodes`` are in the order of their ranks.

    Raises: ServerError for a sequence that has too few numbers left, or that counts down.
    """
    by_name: dict[TableName, dict[str, SequenceState]] = {}
    for node, states in nodes.items():
        for state in states:
            by_name.setdefault(state.name, {})[node] = state
    changes = []
    for name, states_by_node in sorted(by_name.items()):
        changes += [*_spread(name, [*nodes], states_by_node)]
    return changes


def _spread(
    name: TableName, nodes: Sequence[str], states: Mapping[str, SequenceState]
) -> Iterator[SequenceSpread]:
    operation, step = f"spread the sequence {name}", len(nodes)
    if any(state.increment < 0 for state in states.values()):
        raise ServerError(operation, "it counts down", remedy="use one that counts up")
    base = max(
        state.next_value + _MARGIN * state.increment if state.is_called else state.next_value
        for state in states.values()
    )
    # The same multiple of the step on each node, so that they stay apart whatever the minimum is.
    base += -base % step
    for place, node in enumerate(nodes, start=1):
        if node in states:
            restart, maximum = base + place, states[node].maximum
            if restart > maximum:
                found = (
                    f"its next number on {node} would be {restart}, and its maximum is {maximum}"
                )
                raise ServerError(operation, found, remedy="ALTER SEQUENCE … AS a larger type")
            yield SequenceSpread(node=node, name=name, increment=step, restart=restart)
