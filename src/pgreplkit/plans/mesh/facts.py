"""The state of the servers of a mesh that is created, or joined."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs

from pgreplkit.catalog.logical.applytables import TargetTable
from pgreplkit.catalog.logical.sequences import SequenceState
from pgreplkit.plans.logical.applyrights import ApplyRights
from pgreplkit.plans.mesh.layout import Members
from pgreplkit.plans.mesh.rights import ForeignObject
from pgreplkit.plans.mesh.status import MeshStream
from pgreplkit.plans.server.readiness import Settings
from pgreplkit.values.finding import Finding
from pgreplkit.values.tablename import TableName


@attrs.frozen(kw_only=True)
class MeshNodeFacts:
    """The state of one server."""

    name: str
    major: int
    system_id: str
    started_at: datetime
    """Start of the server, which differs from that of its clones."""
    database: str
    encoding: str
    in_recovery: bool
    skew: timedelta
    """The time by which its clock is ahead of this machine's."""
    slots: int
    foreign_slots: tuple[str, ...]
    """The slots of other databases that have the names of this mesh's streams."""
    senders: int
    origins: int
    settings: Settings
    tables: Mapping[TableName, TargetTable | None]
    no_tables: Mapping[TableName, str]
    """The kinds of relations that have the name of a table and are none, such as a view."""
    with_rows: tuple[TableName, ...]
    """Tables that have rows."""
    without_full: Mapping[TableName, tuple[str, ...]]
    """By table: it and its partitions, as SQL, without the replica identity FULL."""
    with_large: tuple[TableName, ...]
    """Tables with values that can be large."""
    with_virtual: tuple[TableName, ...]
    """Tables with virtual generated columns, and with the replica identity FULL."""
    with_foreign_keys: tuple[TableName, ...]
    children: Mapping[TableName, tuple[TableName, ...]]
    """By table: those that inherit from it, and are not in the mesh."""
    firing: Mapping[TableName, tuple[str, ...]]
    """By table: its triggers that fire for the changes of other nodes, too."""
    sequences: tuple[SequenceState, ...]
    """Sequences that a column of the tables owns, or draws its default from."""
    hidden: tuple[TableName, ...]
    """Those that the role may not read."""
    members: Members
    """As the server has them stored; none if it is not in the mesh."""
    others: Mapping[str, tuple[TableName, ...]]
    """By the name of another mesh of the server: its tables that share rows with this mesh's."""
    published: tuple[TableName, ...] | None
    """The tables of the publication; None if it does not exist."""
    owns_tables: bool
    """Whether the role owns the tables, and can publish them."""
    may_replicate: bool
    rights: ApplyRights
    foreign: tuple[ForeignObject, ...] = ()
    """Objects of the mesh that another role owns, as of an earlier membership."""


@attrs.frozen(kw_only=True)
class MeshFacts:
    """The state of all servers of a mesh that is created, or joined."""

    mesh: str
    nodes: tuple[MeshNodeFacts, ...]
    first: str
    """The node whose rows the others get."""
    new: tuple[str, ...]
    """The nodes that become members."""
    policy: Finding
    policy_text: str
    """The policy as a mesh records it."""
    planned: Members
    """The members when the plan was made; of a new mesh, those that it will have."""
    max_clock_skew: timedelta
    """The longest time for which a node waits for its clock."""
    deltas: Mapping[TableName, tuple[str, ...]] = {}
    """Columns to which differences are added."""
    streams: tuple[MeshStream, ...] = ()
    """The streams from the other members to the first node, if a node joins."""
