"""The order of the steps in which a mesh is created, joined, left and repaired."""

from __future__ import annotations

import attrs
from meshfacts import members

from pgreplkit.plans.mesh.layout import MemberState, new_members
from pgreplkit.plans.mesh.operations import (
    create_steps,
    forget_steps,
    join_steps,
    leave_steps,
    policy_steps,
    remove_steps,
)
from pgreplkit.plans.mesh.steps import (
    CopyRows,
    DropLost,
    DropOwnSlots,
    DropStreams,
    ForgetMesh,
    MakeStreams,
    PrepareNode,
    SetMembers,
    SetPolicy,
    WaitForDonor,
)

POLICY = "LastUpdateWins()"


def test_all_streams_but_those_of_the_first_node_exist_before_its_rows_are_copied() -> None:
    joining = new_members(["a", "b", "c"], [18] * 3, MemberState.JOINING, POLICY)
    steps = create_steps("shop", joining, "b", ["public.users"])
    kinds = [type(step) for step in steps]
    prepared = [*3 * [PrepareNode], *3 * [SetPolicy], *3 * [SetMembers], *3 * [MakeStreams]]
    assert kinds == [*prepared, *2 * [CopyRows], *3 * [SetMembers]]
    made = {(s, step.node) for step in steps if isinstance(step, MakeStreams) for s in step.sources}
    copied = {(step.donor, step.node) for step in steps if isinstance(step, CopyRows)}
    assert made | copied == {(x, y) for x in "abc" for y in "abc" if x != y}
    assert not made & copied
    assert all(step.undo for step in steps)
    ready = {step.node: step.is_ready for step in steps if isinstance(step, MakeStreams)}
    assert ready == {"a": False, "b": True, "c": False}


def test_a_node_joins_after_the_donor_has_what_the_new_streams_leave_out() -> None:
    steps = join_steps("shop", members("a", "b", "c"), "d", "a", ["public.users"])
    kinds = [type(step) for step in steps]
    [streams] = [s for s in steps if isinstance(s, MakeStreams) and s.node == "d"]
    assert streams.sources == ("b", "c")
    assert not streams.is_ready
    assert not streams.is_ready
    assert all(s.is_ready for s in steps if isinstance(s, MakeStreams) and s.node != "d")
    # It knows itself, and all others know it, before any stream to or from it exists.
    stored = [step.node for step in steps[: kinds.index(MakeStreams)][1:]]
    assert stored == ["d", "a", "b", "c"]
    order = [kinds.index(WaitForDonor), kinds.index(CopyRows)]
    assert [steps.index(streams), *order] == sorted([steps.index(streams), *order])
    # No one streams from the new node before all know it, and it is active last.
    last = [step for step in steps[order[1] :] if isinstance(step, SetMembers)]
    assert [step.node for step in last] == ["a", "b", "c", "d"]
    assert all("d:4:active" in step.members for step in last)
    assert all(step.undo for step in steps if not isinstance(step, WaitForDonor))


def test_a_node_joins_with_the_policy_of_the_mesh_if_that_is_recorded() -> None:
    known = attrs.evolve(members("a", "b"), policy=POLICY)
    steps = join_steps("shop", known, "c", "a", ["public.users"])
    assert [step for step in steps if isinstance(step, SetPolicy)] == [
        SetPolicy("c", "shop", POLICY)
    ]
    assert policy_steps("shop", known, "KeepLocal()") == (
        SetPolicy("a", "shop", "KeepLocal()"),
        SetPolicy("b", "shop", "KeepLocal()"),
    )


def test_a_node_leaves_after_the_others_have_its_changes_and_keeps_its_rank() -> None:
    steps = leave_steps("shop", members("a", "b", "c"), "b")
    assert [str(step) for step in steps[:2]] == [
        "b: refuse writes to the tables of the mesh",
        "b: wait until a, c have applied what it committed",
    ]
    assert isinstance(steps[2], SetMembers)
    assert steps[2].members == ("a:1:active", "b:2:left", "c:3:active")
    dropped = [(step.node, step.sources) for step in steps if isinstance(step, DropStreams)]
    assert dropped == [("a", ("b",)), ("c", ("b",)), ("b", ("a", "c"))]
    assert all(step.is_final for step in steps if isinstance(step, DropStreams))


def test_the_others_forget_a_lost_node_without_asking_it() -> None:
    steps = remove_steps("shop", members("a", "b", "c"), "b")
    assert [step.node for step in steps] == ["a", "c", "a", "c"]
    assert all("b:2:left" in step.members for step in steps if isinstance(step, SetMembers))
    assert [str(step) for step in steps[2:]] == [
        "a: drop the streams from and to b",
        "c: drop the streams from and to b",
    ]
    assert isinstance(steps[2], DropLost)
    assert steps[2].is_final
    assert steps[2].action == "SELECT pg_drop_replication_slot('pgreplkit_shop_a_b')"


def test_a_node_forgets_a_mesh_without_asking_the_others() -> None:
    stored, *steps = forget_steps("shop", members("a", "b", "c"), "b", ["a", "c"])
    assert isinstance(stored, SetMembers)
    assert "b:2:left" in stored.members
    assert steps == [DropOwnSlots("b", "shop", ("a", "c")), ForgetMesh("b", "shop")]
    assert str(steps[0]) == "b: drop the slots of the streams to a, c"
    left = members("a", "b", "c").changed("b", MemberState.LEFT)
    assert [*forget_steps("shop", left, "b", ["a", "c"])] == steps
