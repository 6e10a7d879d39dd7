"""The facts about the two servers of a major upgrade."""

from collections.abc import Collection, Mapping, Sequence

import attrs

from pgreplkit.catalog.cluster.upgrade import DatabaseFacts, RoleRights, UserTable
from pgreplkit.catalog.logical.replicaidentity import ReplicaIdentity
from pgreplkit.catalog.logical.stuck import WorkerPool
from pgreplkit.plans.logical.drift import SchemaDrift
from pgreplkit.plans.server.readiness import Settings
from pgreplkit.values.finding import Finding
from pgreplkit.values.tablename import TableName
from pgreplkit.values.version import ServerVersion


@attrs.frozen(kw_only=True)
class Side:
    """The facts about one server of an upgrade."""

    version: ServerVersion
    settings: Settings
    facts: DatabaseFacts
    rights: RoleRights
    pool: WorkerPool
    slots: int
    senders: int
    leftovers: Sequence[str] = ()
    """Objects that have the names of the upgrade's."""
    connection_error: str = ""
    """The error with which it connects to the other server; empty if it does."""
    connection_sqlstate: str | None = None
    """The SQLSTATE of that error."""
    is_pooled: bool = False
    """Whether our own connection leads to a connection pooler."""

    @property
    def major(self) -> int:
        """The major version."""
        return self.version.major


@attrs.frozen(kw_only=True)
class UpgradeFacts:
    """The facts about both servers before the preparation."""

    old: Side
    new: Side
    tables: Sequence[UserTable]
    identities: Sequence[ReplicaIdentity]
    nonempty: Sequence[TableName]
    """Tables of the new database that have rows."""
    there: Collection[TableName] = ()
    """The tables of the new database."""
    copies_schema: bool = True
    """Whether the preparation creates the tables there."""
    copies_owners: bool = True
    """Whether it gives them to their owners."""
    closed_schemas: Sequence[str] = ()
    """The schemas of the new server in which its role may not create what the copy has there."""
    colliding: Sequence[str] = ()
    """The objects of the new server with which the copy of the schema would collide."""
    refused_extensions: Sequence[str] = ()
    """The extensions that the role of the new server cannot create."""
    refused_owners: Mapping[str, str | None] = attrs.field(factory=dict)
    """The owners to whom the role of the new server cannot give objects, with the statement that
    changes this; None for a superuser, to whom only superusers give them."""
    left_out_roles: Sequence[str] = ()
    """The roles whose objects and privileges it does not copy."""
    uncopied_privileges: Sequence[str] = ()
    """The statements for privileges on the database, on settings and on tablespaces that the new
    server lacks."""
    groups: int
    new_fence: str = ""
    """The fence of the new server, which refuses TRUNCATE too; empty if it has none."""
    new_reads_xml: bool = True
    """Whether the new server was built with libxml."""
    sequences: Sequence[Finding] = ()
    """The problems of sequences that exist on both servers."""
    writing_triggers: Sequence[str] = ()
    """Enabled event triggers of the old server that write to tables."""
    drift: SchemaDrift | None = None
    """The differences of the tables that exist on both servers."""

    @property
    def is_one(self) -> bool:
        """Whether both connections lead to the same database."""
        return self.old.facts.place == self.new.facts.place
