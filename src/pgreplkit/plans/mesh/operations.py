"""The steps of creating a mesh, of joining it, and of leaving it."""

from collections.abc import Iterable, Iterator

from pgreplkit.plans.cluster.journal import Journal
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.mesh.layout import Members, MemberState, without
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
    StopWrites,
    WaitForDonor,
    WaitForPeers,
)


def create_steps(
    mesh: str, members: Members, first: str, tables: Iterable[str], final: Iterable[str] = ()
) -> tuple[Step, ...]:
    """Return the steps of creating a mesh whose rows are those of the node ``first``."""
    nodes = [member.node for member in members.all]
    tables, final = tuple(tables), tuple(final)
    others = without(nodes, first)
    # Deletes must be recorded before any other node can see the rows.
    steps: list[Step] = [PrepareNode(node, mesh, tables, final) for node in nodes]
    steps += _recorded(nodes, mesh, members.policy)
    steps += [_stored(node, mesh, members) for node in nodes]
    # All streams but those of the first node, so that no write elsewhere goes unnoticed.
    steps.append(MakeStreams(first, mesh, others, is_ready=True))
    for node in others:
        if sources := without(others, node):
            steps.append(MakeStreams(node, mesh, sources, is_ready=False))
    steps += [CopyRows(node, mesh, first) for node in others]
    active = members
    for node in nodes:
        active = active.changed(node, MemberState.ACTIVE)
    steps += [_stored(node, mesh, active) for node in nodes]
    return tuple(steps)


def join_steps(
    mesh: str,
    members: Members,
    joining: str,
    donor: str,
    tables: Iterable[str],
    final: Iterable[str] = (),
) -> tuple[Step, ...]:
    """Return the steps by which a node joins a mesh that is in use."""
    active = members.active
    announced = members.changed(joining, MemberState.JOINING)
    joined = members.changed(joining, MemberState.ACTIVE)
    peers = without(active, donor)
    steps: list[Step] = [PrepareNode(joining, mesh, tuple(tables), tuple(final))]
    steps += _recorded([joining], mesh, members.policy)
    steps.append(_stored(joining, mesh, announced))
    # The others know its rank before its first change arrives.
    steps += [_stored(node, mesh, announced) for node in active]
    steps += [MakeStreams(node, mesh, (joining,), is_ready=True) for node in active]
    if peers:
        steps.append(MakeStreams(joining, mesh, peers, is_ready=False))
        steps.append(WaitForDonor(donor, mesh, peers, joining))
    steps.append(CopyRows(joining, mesh, donor))
    # Its own streams start last: it must not write before the others listen.
    steps += [_stored(node, mesh, joined) for node in (*active, joining)]
    return tuple(steps)


def leave_steps(mesh: str, members: Members, leaving: str) -> tuple[Step, ...]:
    """Return the steps by which a node leaves."""
    others = without(members.present, leaving)
    left = members.changed(leaving, MemberState.LEFT)
    steps: list[Step] = [StopWrites(leaving, mesh), WaitForPeers(leaving, mesh, others)]
    steps += [_stored(node, mesh, left) for node in (*others, leaving)]
    steps += _dropped(mesh, leaving, others)
    steps.append(ForgetMesh(leaving, mesh))
    return tuple(steps)


def remove_steps(mesh: str, members: Members, lost: str) -> tuple[Step, ...]:
    """Return the steps by which the other nodes forget one that is lost."""
    others = without(members.present, lost)
    left = members.changed(lost, MemberState.LEFT)
    return (
        *(_stored(node, mesh, left) for node in others),
        *(DropLost(node, mesh, lost) for node in others),
    )


def forget_steps(mesh: str, members: Members, node: str, others: Iterable[str]) -> tuple[Step, ...]:
    """Return the steps by which a node alone forgets the mesh; ``members`` are its own ones."""
    steps = list[Step]()
    if node in members.present:
        # Running streams to it notice that, and end.
        steps.append(_stored(node, mesh, members.changed(node, MemberState.LEFT)))
    return (*steps, DropOwnSlots(node, mesh, tuple(others)), ForgetMesh(node, mesh))


def policy_steps(mesh: str, members: Members, policy: str) -> tuple[Step, ...]:
    """Return the steps by which a mesh gets another policy."""
    return (*_recorded(members.present, mesh, policy),)


def check_mesh(journal: Journal, mesh: str) -> None:
    """Refuse to resume the operation of another mesh, whose nodes may have the same names.

    Raises: ValueError.
    """
    # All of its steps have the name; by it they find their slots.
    others = {str(getattr(step, "mesh", "")) for step in journal.steps} - {mesh}
    if others:
        raise ValueError(
            f"could not resume the {journal.operation}: it is of the mesh"
            f" {', '.join(map(repr, sorted(others)))}, not of {mesh!r}; pass"
            " the journal of this mesh"
        )


def _dropped(mesh: str, leaving: str, others: Iterable[str]) -> Iterator[Step]:
    others = tuple(others)
    yield from (DropStreams(node, mesh, (leaving,)) for node in others)
    yield DropStreams(leaving, mesh, others)


def _recorded(nodes: Iterable[str], mesh: str, policy: str | None) -> Iterator[Step]:
    # The policy of a mesh of an earlier version is not known.
    if policy is not None:
        yield from (SetPolicy(node, mesh, policy) for node in nodes)


def _stored(node: str, mesh: str, members: Members) -> Step:
    return SetMembers(node, mesh, members.ties, tuple(member.written for member in members.all))
