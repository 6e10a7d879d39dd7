"""Loops between appliers of both directions, against a walk of single changes."""

from __future__ import annotations

from itertools import cycle

import attrs
from hypothesis import given, strategies as st

from pgreplkit.plans.logical.applyloops import (
    Direction,
    Flow,
    find_loops,
    flow_in,
    flow_names,
    loop_finding,
)
from pgreplkit.rows import Severity
from pgreplkit.values.tablename import TableName

NAMES = [TableName("public", name) for name in "abc"]
TEXTS = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=15
)
FLOWS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(NAMES))


def directions(name: str) -> st.SearchStrategy[Direction]:
    return st.builds(
        Direction,
        name=st.just(name),
        flow=FLOWS,
        takes_all=st.booleans(),
        origin=st.sampled_from([name, None]),
    )


def comes_back(table: TableName, there: Direction, back: Direction) -> bool:
    """Let one change travel; return whether it comes back to the table where it was made."""
    at, origin = table, None
    for hops, (one, is_home) in enumerate(cycle([(there, False), (back, True)])):
        is_wanted = hops == 0 or origin is None or one.takes_all
        if not is_wanted or at not in one.flow or hops > 20:
            return False
        at, origin = one.flow[at], one.origin
        if is_home and at == table:
            return True
    return False


@given(directions("own"), directions("other"))
def test_a_loop_is_found_if_a_change_of_either_server_comes_back(
    own: Direction, other: Direction
) -> None:
    expected = any(
        comes_back(table, other, own) or comes_back(table, own, other) for table in NAMES
    )
    found = [*find_loops(own, [other])]
    assert bool(found) is expected
    for loop in found:
        is_ours = loop.origin == other.origin and comes_back(loop.table, other, own)
        assert is_ours or (loop.origin == own.origin and comes_back(loop.table, own, other))


@given(st.dictionaries(TEXTS, TEXTS))
def test_a_flow_is_stored_whatever_the_names_contain(names: dict[str, str]) -> None:
    flow: Flow = {TableName(one, to): TableName(to, one) for one, to in names.items()}
    assert flow_in(flow_names(flow)) == flow


def test_a_loop_is_critical_if_the_other_direction_certainly_runs() -> None:
    same = {NAMES[0]: NAMES[0]}
    own = Direction(name="own", flow=same, takes_all=True, origin="pgreplkit_own")
    other = attrs.evolve(own, name="the applier 'other'", origin="pgreplkit_other")
    maybe = attrs.evolve(other, name="the subscription 's'", is_certain=False)
    assert loop_finding([], unread="").severity is Severity.OK
    assert loop_finding([], unread="nothing was read").severity is Severity.INFO
    assert loop_finding(find_loops(own, [maybe]), unread="").severity is Severity.WARNING
    found = loop_finding(find_loops(own, [maybe, other]), unread="")
    assert found.severity is Severity.CRITICAL
    assert found.found.index("'other'") < found.found.index("'s'")
