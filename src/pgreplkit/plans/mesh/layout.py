"""MeshLayout: the names in a mesh, its members and their ranks."""

import re
from collections.abc import Iterable, Mapping

import attrs

from pgreplkit.catalog.logical.applying import PREFIX
from pgreplkit.errors import InvalidTableName
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.several import several
from pgreplkit.values.tablename import AnyTable, TableName, table_of

_MESH = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
# An underscore would make the names of two pairs of nodes alike.
_NODE = re.compile(r"[a-z][a-z0-9]*", re.ASCII)
_LONGEST = 50
"""The name of an applier, as applier_name() returns it."""
_RANKED_SINCE = 14
"""The first major version that stores the origin of a commit with its time."""


class MemberState(OpenEnum):
    """The state of a node in a mesh."""

    JOINING = "joining"
    """Its rows are being copied; nothing is applied to it yet."""
    ACTIVE = "active"
    LEFT = "left"
    """Its rank stays reserved, because rows that it wrote last still exist."""


@attrs.frozen(kw_only=True)
class MeshMember(Record):
    """A node of a mesh, as every other node has it stored.

    Source: the table pgreplkit.mesh_node.
    """

    node: str
    rank: int
    """Decides between two changes that were committed at the same time: the highest one wins."""
    state: MemberState = attrs.field(converter=MemberState)

    @classmethod
    def parse(cls, text: str) -> "MeshMember":
        """Return the member that ``written`` described."""
        node, rank, state = text.split(":")
        return cls(node=node, rank=int(rank), state=state)

    @property
    def written(self) -> str:
        """The member as one text, for steps."""
        return f"{self.node}:{self.rank}:{self.state.value}"


@attrs.frozen(kw_only=True)
class Members:
    """All nodes of a mesh that are or were members."""

    all: tuple[MeshMember, ...]
    ties: str
    """``rank``, or ``row`` where a node does not know the origin of a commit."""
    policy: str | None = None
    """The recorded policy of the mesh; None if an earlier version of pgreplkit created it."""

    @property
    def active(self) -> tuple[str, ...]:
        """The names of the active members, by rank."""
        return self._in(MemberState.ACTIVE)

    @property
    def present(self) -> tuple[str, ...]:
        """The names of the members that have not left, by rank."""
        return self._in(MemberState.ACTIVE, MemberState.JOINING)

    def _in(self, *states: MemberState) -> tuple[str, ...]:
        # The same order on every node, whatever the order of the stored rows is.
        ordered = sorted(self.all, key=lambda member: member.rank)
        return tuple(member.node for member in ordered if member.state in states)

    @property
    def ranks(self) -> dict[str, int]:
        """The rank of each node, also of those that left."""
        return {member.node: member.rank for member in self.all}

    def changed(self, node: str, state: MemberState) -> "Members":
        """Return the members with another state of one; a new one gets the next rank."""
        ranks = self.ranks
        # A node that comes back keeps its rank; that of a node that left is never given again,
        # since its rows are still compared.
        rank = ranks.get(node, max(ranks.values(), default=0) + 1)
        others = [member for member in self.all if member.node != node]
        changed = MeshMember(node=node, rank=rank, state=state)
        ordered = sorted([*others, changed], key=lambda member: member.rank)
        return attrs.evolve(self, all=tuple(ordered))

    def origins(self, mesh: str, target: str) -> dict[str, str]:
        """Return the node that each replication origin of ``target`` stands for."""
        return {
            PREFIX + applier_name(mesh, member.node, target): member.node
            for member in self.all
            if member.node != target
        }


def new_members(
    nodes: Iterable[str], majors: Iterable[int], state: MemberState, policy: str | None = None
) -> Members:
    """Return the members of a new mesh; their order is their rank."""
    members = [
        MeshMember(node=node, rank=rank, state=state) for rank, node in enumerate(nodes, start=1)
    ]
    # One way for all: nodes that decide a tie differently would differ permanently.
    ties = "rank" if min(majors) >= _RANKED_SINCE else "row"
    return Members(all=tuple(members), ties=ties, policy=policy)


def fits_ties(ties: str, major: int) -> bool:
    """Return whether a server of that version can decide ties as the mesh does."""
    return ties == "row" or major >= _RANKED_SINCE


def applier_name(mesh: str, source: str, target: str) -> str:
    """Return the name of the applier of one stream."""
    return f"{mesh}_{source}_{target}"


def slot_name(mesh: str, source: str, target: str) -> str:
    """Return the name of a stream's slot on the source, and of its origin on the target."""
    return PREFIX + applier_name(mesh, source, target)


def publication_name(mesh: str) -> str:
    """Return the name of the publication that each node has."""
    return PREFIX + mesh


def checked_mesh_name(name: object) -> str:
    """Return the name of a mesh.

    Raises: TypeError; ValueError.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a mesh must be a str, not {type(name).__name__}")
    if not _MESH.fullmatch(name):
        raise ValueError(
            "the name of a mesh has letters a-z, digits and underscores, and begins with a letter,"
            f" got {name!r}"
        )
    return name


def checked_node(node: object) -> str:
    """Return the name of a node; raise TypeError for anything but a str."""
    if not isinstance(node, str):
        raise TypeError(f"the name of a node must be a str, not {type(node).__name__}")
    return node


def check_node_names(mesh: str, names: Iterable[object]) -> None:
    """Check the names of nodes, and the length of all names that are made of them.

    Raises: TypeError; ValueError.
    """
    checked: list[str] = []
    for name in map(checked_node, names):
        if not _NODE.fullmatch(name):
            raise ValueError(
                f"the name of a node has letters a-z and digits, and begins with a letter, got"
                f" {name!r}"
            )
        checked.append(name)
    # Each pair of nodes has a stream, so the two longest names decide.
    longest = sorted(checked, key=len)[-2:]
    if len(longest) == 2 and len(made := applier_name(mesh, *longest)) > _LONGEST:
        raise ValueError(
            f"the names of the mesh and of two nodes have at most {_LONGEST} characters together,"
            f" got {made!r} with {len(made)}"
        )


@attrs.frozen
class TableChoice:
    """The tables of a mesh: by name, or all tables of a schema."""

    tables: tuple[TableName, ...]
    schemas: tuple[str, ...]

    def resolve(self, existing: Iterable[TableName]) -> tuple[TableName, ...]:
        """Return the chosen tables, sorted; those that are named may not exist."""
        of_schemas = [table for table in existing if table.schema in self.schemas]
        return tuple(sorted({*self.tables, *of_schemas}))


def table_choice(tables: Iterable[AnyTable]) -> TableChoice:
    """Return the choice of tables, of which ``schema.*`` means all of a schema.

    Raises: TypeError; ValueError; InvalidTableName.
    """
    names, schemas = [], []
    for table in several(tables, "tables", at_least=1):
        if isinstance(table, str) and table.endswith(".*"):
            # Parsed as part of a name, so that it is folded and unquoted as SQL does.
            try:
                schemas.append(TableName.parse(f"{table.removesuffix('.*')}.any").schema)
            except InvalidTableName as error:
                found = "schema.* means all tables of one schema, which is written as in SQL"
                raise InvalidTableName(table, found) from error
        else:
            names.append(table_of(table))
    return TableChoice(tuple(names), tuple(schemas))


def without(names: Iterable[str], *left_out: str) -> tuple[str, ...]:
    """Return names without some of them."""
    return tuple(name for name in names if name not in left_out)


def disagreement(stored: Mapping[str, Members]) -> str:
    """Return the different members that the nodes have stored; empty if they agree."""
    texts = {
        node: ", ".join(member.written for member in members.all)
        for node, members in sorted(stored.items())
    }
    if len({*texts.values()}) < 2:
        return ""
    return "; ".join(f"{node} has {text or 'no members'}" for node, text in texts.items())
