"""Membership: the nodes of a group of servers that all write, as one applier sees them."""

from collections.abc import Mapping

import attrs

_TIES = ("rank", "row")


def _name(name: str, what: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of {what} must be a str, not {type(name).__name__}")
    if not name or "\0" in name:
        raise ValueError(f"the name of {what} must not be empty or contain NUL, got {name!r}")
    return name


def _node(name: str) -> str:
    return _name(name, "a node")


def _names(given: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise TypeError(f"origins must be a mapping of names, not {type(given).__name__}")
    for origin, node in given.items():
        _name(origin, "an origin")
        _name(node, f"the node of the origin {origin!r}")
    return {**given}


def _ranks(given: Mapping[str, int]) -> dict[str, int]:
    if not isinstance(given, Mapping):
        raise TypeError(f"ranks must be a mapping of nodes to numbers, not {type(given).__name__}")
    for node, rank in given.items():
        _name(node, "a node")
        # The server compares ranks as int.
        if type(rank) is not int or not 0 <= rank < 1 << 31:
            raise ValueError(f"the rank of {node!r} must be an int >= 0, got {rank!r}")
    # With equal ranks, each of two nodes would keep its own row.
    twice = {rank for rank in given.values() if [*given.values()].count(rank) > 1}
    if twice:
        raise ValueError(f"two nodes have the rank {min(twice)}")
    return {**given}


@attrs.frozen(kw_only=True)
class Membership:
    """The nodes that write the same tables, as one applier sees them.

    The ranks must be the same on all nodes. Keep a node that left as long as rows that it wrote
    can be in conflict.
    """

    node: str = attrs.field(converter=_node)
    """The subscriber's own name: rows without an origin are of this node."""
    source: str = attrs.field(converter=_node)
    """The publisher's name."""
    ranks: Mapping[str, int] = attrs.field(converter=_ranks)
    """A number for each node: of changes with equal commit times, the higher one wins."""
    origins: Mapping[str, str] = attrs.field(factory=dict, converter=_names)
    """The node for each replication origin of the subscriber."""
    ties: str = "rank"
    """``rank``, which needs PostgreSQL 14 on all nodes; or ``row``: of changes with equal commit
    times, the greater text of the row wins. The same on all nodes."""

    def __attrs_post_init__(self) -> None:
        if self.ties not in _TIES:
            raise ValueError(f"ties must be one of {', '.join(_TIES)}, got {self.ties!r}")
        if self.node == self.source:
            raise ValueError(f"node and source are the same: {self.node!r}")
        named = {self.node: "node", self.source: "source"}
        named.update({node: f"the origin {origin!r}" for origin, node in self.origins.items()})
        for node, what in named.items():
            if node not in self.ranks:
                known = ", ".join(sorted(self.ranks)) or "none"
                raise ValueError(f"{what} is {node!r}, which has no rank; known are {known}")
