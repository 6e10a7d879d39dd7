"""Which policies converge, shown on a model of servers that all write."""

from __future__ import annotations

from typing import ClassVar

import attrs
import pytest
from hypothesis import Phase, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from pgreplkit.apply import (
    ApplyRemote,
    Decision,
    DeltaColumns,
    KeepLocal,
    LastUpdateWins,
    MergeWith,
    NodePriority,
    Policy,
    Version,
)
from pgreplkit.apply.model import Nodes
from pgreplkit.changes import Row
from pgreplkit.values.finding import Severity

KEYS = st.integers(0, 1)
SKEWS = st.integers(-2, 2)
NODE = st.integers(0, 4)
FEW_STEPS = settings(max_examples=3000, stateful_step_count=12, phases=[Phase.generate])
"""Of a counterexample, which is not made smaller: that there is one is enough."""


class Writers(RuleBasedStateMachine):
    """Any history of writers and clocks."""

    policy: ClassVar[Policy] = LastUpdateWins()
    parts: ClassVar[dict[str, bool]] = {}
    least, most = 2, 3
    """Nodes at the beginning."""

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        skews = data.draw(st.lists(SKEWS, min_size=self.least, max_size=self.most))
        self.nodes = Nodes(self.policy, skews, **self.parts)
        self.count = len(skews)
        self.value = 0

    def name(self, number: int) -> str:
        return self.nodes.names[number % len(self.nodes.names)]

    def two(self, number: int, step: int) -> tuple[str, str]:
        names = self.nodes.names
        return self.name(number), self.name(number + 1 + step % (len(names) - 1))

    @rule(node=NODE, key=KEYS)
    def write(self, node: int, key: int) -> None:
        self.value += 1
        self.nodes.write(self.name(node), key, self.value)

    @rule(node=NODE, key=KEYS)
    def delete(self, node: int, key: int) -> None:
        self.nodes.delete(self.name(node), key)

    @rule(node=NODE, key=KEYS)
    def move(self, node: int, key: int) -> None:
        self.nodes.move(self.name(node), key, 1 - key)

    @rule(node=NODE, step=NODE)
    def deliver(self, node: int, step: int) -> None:
        self.nodes.deliver(*self.two(node, step))

    @rule()
    def tick(self) -> None:
        self.nodes.tick()

    def teardown(self) -> None:
        self.nodes.settle()
        first, *others = (
            (self.nodes.rows(name), self.nodes.sums(name)) for name in self.nodes.names
        )
        assert all(other == first for other in others), "the nodes differ"


class Growing(RuleBasedStateMachine):
    """Writers that delete nothing, and write a larger value each time."""

    policy: ClassVar[Policy]
    begin, teardown, name, two = Writers.begin, Writers.teardown, Writers.name, Writers.two
    write, deliver, tick = Writers.write, Writers.deliver, Writers.tick
    parts: ClassVar[dict[str, bool]] = {}
    least, most = 2, 4


class Servers(Writers):
    """The same with restarts, joins and leaves."""

    least, most = 2, 5

    @rule(node=NODE, step=NODE, transactions=st.integers(1, 3))
    def restart(self, node: int, step: int, transactions: int) -> None:
        self.nodes.resend(*self.two(node, step), transactions)

    @rule(donor=NODE, skew=SKEWS, repeated=st.integers(0, 2))
    def join(self, donor: int, skew: int, repeated: int) -> None:
        if len(self.nodes.names) < 5:
            self.nodes.join(f"n{self.count}", self.name(donor), skew, repeated)
            self.count += 1

    @rule(node=NODE)
    def leave(self, node: int) -> None:
        if len(self.nodes.names) > 2:
            self.nodes.leave(self.name(node))


class Adding(Writers):
    """The same, where each difference must arrive once: positions are exact."""

    least, most = 2, 5
    repeated: ClassVar[int] = 0

    @rule(donor=NODE, skew=SKEWS)
    def join(self, donor: int, skew: int) -> None:
        if len(self.nodes.names) < 5:
            self.nodes.join(f"n{self.count}", self.name(donor), skew, self.repeated)
            self.count += 1


@attrs.frozen
class RemoteWinsTies(LastUpdateWins):
    """Decides between equal times by the node that applies the change, not by its author."""

    def decide(self, local: Version | None, remote: Version) -> Decision:
        if local is not None and local.commit_time == remote.commit_time:
            return Decision.APPLY
        return super().decide(local, remote)


def search(histories: type[Writers | Growing], steps: settings, **attributes: object) -> None:
    """Raise AssertionError if one of the histories leaves different rows."""
    machine = type(histories.__name__, (histories,), attributes)
    run_state_machine_as_test(machine, settings=steps)


def insist_on_counterexample(**attributes: object) -> None:
    with pytest.raises(AssertionError, match="the nodes differ"):
        search(Writers, FEW_STEPS, **attributes)


def test_a_policy_that_converges_has_equal_rows_in_the_end() -> None:
    policy = LastUpdateWins()
    assert policy.converges(nodes=5).severity is Severity.OK
    search(Servers, settings(stateful_step_count=30), policy=policy)


def larger(local: Row, remote: Row) -> dict[str, object]:
    return {"value": max(int(str(row["value"])) for row in (local, remote))}


LARGEST = MergeWith(larger)
THEIRS = MergeWith(lambda local, remote: {"value": remote["value"]})


@pytest.mark.parametrize(
    "policy",
    [ApplyRemote(), KeepLocal(), NodePriority(["n0", "n1"]), LARGEST],
    ids=lambda policy: type(policy).__name__,
)
def test_a_policy_that_does_not_converge_has_a_counterexample(
    policy: ApplyRemote | KeepLocal | NodePriority | MergeWith,
) -> None:
    assert policy.converges(nodes=2).severity is Severity.CRITICAL
    insist_on_counterexample(policy=policy, most=2)


def test_merged_values_that_only_grow_are_equal_unless_rows_are_deleted() -> None:
    search(Growing, settings(stateful_step_count=30), policy=LARGEST)
    with pytest.raises(AssertionError, match="the nodes differ"):
        search(Growing, FEW_STEPS, policy=THEIRS)


@pytest.mark.parametrize("part", ["remembers_deletions", "inserts_missing", "waits_for_clock"])
def test_each_part_of_last_update_wins_is_needed(part: str) -> None:
    insist_on_counterexample(parts={part: False}, least=3)


DELTAS = DeltaColumns({"t": ["n"]})


def test_differences_add_up_to_the_same_sums() -> None:
    assert DELTAS.converges(nodes=5).severity is Severity.OK
    search(Adding, settings(stateful_step_count=30), policy=DELTAS)


def test_differences_need_kept_stamps_and_exact_positions() -> None:
    with pytest.raises(AssertionError, match="the nodes differ"):
        search(Adding, FEW_STEPS, policy=DELTAS, parts={"keeps_stamps": False})
    with pytest.raises(AssertionError, match="the nodes differ"):
        search(Adding, FEW_STEPS, policy=DELTAS, repeated=1)


def test_ties_that_the_applying_node_decides_do_not_converge() -> None:
    insist_on_counterexample(policy=RemoteWinsTies())
