"""The steps by which a mesh is created, joined and left, as data."""

from collections.abc import Sequence

import attrs

from pgreplkit.plans.cluster.steps import Step, as_names
from pgreplkit.plans.mesh.layout import publication_name, slot_name


def _as_found(names: object) -> tuple[str, ...] | None:
    return None if names is None else as_names(names)


def _dropping(slots: Sequence[str]) -> str:
    return "; ".join(f"SELECT pg_drop_replication_slot('{slot}')" for slot in slots)


@attrs.frozen
class PrepareNode(Step):
    """Create what a node needs before others stream from it."""

    check = "triggers and a publication that already exist stay unchanged"
    undo = "drop the publication and the triggers, unless they existed before"
    _description = "publish {tables}, and record deletes there"

    mesh: str
    tables: tuple[str, ...] = attrs.field(converter=as_names)
    final: tuple[str, ...] = attrs.field(converter=as_names, default=())
    """Tables with delta columns: a deleted key cannot be used again."""
    existing: tuple[str, ...] | None = attrs.field(converter=_as_found, default=None)
    """The objects that existed before it, which undo leaves; None if it was not begun."""

    def unbegun(self) -> Step:
        return attrs.evolve(self, existing=None)

    @property
    def action(self) -> str:
        tables = ", ".join(self.tables)
        return f"triggers on {tables}; CREATE PUBLICATION {publication_name(self.mesh)}"


@attrs.frozen
class SetMembers(Step):
    """Store the members of the mesh on a node; running streams notice it."""

    undo = "restore the members that were stored before"
    _description = "store the members {members}"
    _action = "INSERT INTO pgreplkit.mesh_node"

    mesh: str
    ties: str
    members: tuple[str, ...] = attrs.field(converter=as_names)
    """As ``node:rank:state``."""
    before: tuple[str, ...] | None = attrs.field(converter=_as_found, default=None)
    """The members that were stored before; None if it was not begun."""

    def unbegun(self) -> Step:
        return attrs.evolve(self, before=None)


@attrs.frozen
class SetPolicy(Step):
    """Record the policy of the mesh on a node; running processes with another one end."""

    undo = "restore the policy that was recorded before"
    _description = "record the policy {policy}"
    _action = "INSERT INTO pgreplkit.mesh_policy"

    mesh: str
    policy: str
    before: tuple[str, ...] | None = attrs.field(converter=_as_found, default=None)
    """The policy that was recorded before, if one was; None if it was not begun."""

    def unbegun(self) -> Step:
        return attrs.evolve(self, before=None)


@attrs.frozen
class MakeStreams(Step):
    """Create the slots on other nodes, and the origins here, of the streams to a node."""

    check = "streams that already exist stay unchanged"
    undo = "drop the slots and the origins, unless they existed before"
    _description = "create the streams from {sources}"

    mesh: str
    sources: tuple[str, ...] = attrs.field(converter=as_names)
    is_ready: bool
    """Whether they can start; otherwise the node's rows have to be copied first."""
    existing: tuple[str, ...] | None = attrs.field(converter=_as_found, default=None)
    """The objects that existed before it, which undo leaves; None if it was not begun."""

    def unbegun(self) -> Step:
        return attrs.evolve(self, existing=None)

    @property
    def action(self) -> str:
        # The names that the action uses, so that an administrator finds them on the server.
        slots = [slot_name(self.mesh, source, self.node) for source in self.sources]
        call = "SELECT pg_create_logical_replication_slot('{}', 'pgoutput')"
        return "; ".join(map(call.format, slots))


@attrs.frozen
class WaitForDonor(Step):
    """Wait until the donor has applied all that the new node will not get from other nodes."""

    check = "streams from the other nodes to the donor are running"
    _description = (
        "wait until it has applied what {sources} committed before the streams to {target} existed"
    )
    _action = "SELECT confirmed_flush_lsn FROM pg_replication_slots, on {sources}"

    mesh: str
    sources: tuple[str, ...] = attrs.field(converter=as_names)
    target: str


@attrs.frozen
class CopyRows(Step):
    """Create the stream from the donor, and copy its rows as of the stream's start."""

    check = "the tables are empty"
    undo = "drop the stream, and remove the copied rows"
    _description = "copy the rows of {donor}, with the times of their last commits"
    _action = "COPY … TO STDOUT on {donor}, COPY … FROM STDIN"

    mesh: str
    donor: str
    existing: tuple[str, ...] | None = attrs.field(converter=_as_found, default=None)
    """The objects that existed before it, which undo leaves; None if it was not begun."""

    def unbegun(self) -> Step:
        return attrs.evolve(self, existing=None)


@attrs.frozen
class StopWrites(Step):
    """Refuse writes of clients to the tables of a node that leaves."""

    undo = "allow writes again"
    _description = "refuse writes to the tables of the mesh"
    _action = "CREATE TRIGGER pgreplkit_no_write, on each table"

    mesh: str


@attrs.frozen
class WaitForPeers(Step):
    """Wait until the other nodes have applied everything that a node committed."""

    check = "streams from the node to the others are running"
    _description = "wait until {targets} have applied what it committed"
    _action = "SELECT confirmed_flush_lsn FROM pg_replication_slots"

    mesh: str
    targets: tuple[str, ...] = attrs.field(converter=as_names)


@attrs.frozen
class DropStreams(Step):
    """Drop the streams to a node; the origins stay where rows may refer to them."""

    # A slot that is in use cannot be dropped.
    check = "running streams have noticed the change of the members, and ended"
    # Without the slots the node has missed changes: undoing would not make it a member again.
    is_final = True
    caution = "write on the node that leaves only to tables that the others need not have"
    _description = "drop the streams from {sources}"

    mesh: str
    sources: tuple[str, ...] = attrs.field(converter=as_names)

    @property
    def action(self) -> str:
        slots = [slot_name(self.mesh, source, self.node) for source in self.sources]
        return _dropping(slots)


@attrs.frozen
class DropLost(Step):
    """Drop what a node keeps for another one that is lost; the origin stays."""

    check = "running streams have noticed the change of the members, and ended"
    is_final = True
    caution = "the changes that only {lost} has are lost"
    _description = "drop the streams from and to {lost}"

    mesh: str
    lost: str

    @property
    def action(self) -> str:
        return _dropping([slot_name(self.mesh, self.node, self.lost)])


@attrs.frozen
class DropOwnSlots(Step):
    """Drop the slots of a node's streams to others, which get nothing from it from then on."""

    check = "no stream uses them"
    is_final = True
    caution = "the changes that only {node} has are not sent to other nodes"
    _description = "drop the slots of the streams to {targets}"

    mesh: str
    targets: tuple[str, ...] = attrs.field(converter=as_names)

    @property
    def action(self) -> str:
        slots = [slot_name(self.mesh, self.node, target) for target in self.targets]
        return _dropping(slots)


@attrs.frozen
class ForgetMesh(Step):
    """Remove the publication, the triggers and the members from a node that has left."""

    _description = "drop the publication and the triggers; the rows stay"

    mesh: str

    @property
    def action(self) -> str:
        return f"DROP PUBLICATION {publication_name(self.mesh)}"
