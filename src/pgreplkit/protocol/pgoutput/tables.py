"""Table and Column: what a stream tells of the tables whose changes it carries."""

from __future__ import annotations

import attrs

from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.tablename import TableName


class RelationIdentity(OpenEnum):
    """What tells which old row a change meant, as ``relreplident`` has it."""

    DEFAULT = "d"
    """The primary key."""
    NOTHING = "n"
    FULL = "f"
    """All columns."""
    INDEX = "i"
    """The columns of a unique index."""


@attrs.frozen
class Column:
    """A column of a table whose changes are streamed.

    Source: the message Relation of pgoutput.
    """

    name: str
    type_oid: int
    type_modifier: int
    """As in pg_attribute.atttypmod; -1 where the type takes none."""
    is_key: bool
    """Whether it belongs to the replica identity."""
    type_name: TableName | None = None
    """Schema and name of its type where it is none of PostgreSQL's own."""


@attrs.frozen(repr=False)
class Table:
    """A table as it is when the changes after it were made.

    When it is altered the stream goes on with another Table; rows keep the one they came with.
    The server also tells of it again unaltered, as after ANALYZE: compare with ``==``.

    Source: the message Relation of pgoutput.
    """

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    """Those that are published."""
    replica_identity: RelationIdentity = RelationIdentity.DEFAULT

    @property
    def table_name(self) -> TableName:
        """Its schema and name as one value, which ``str`` writes as SQL does."""
        return TableName(self.schema, self.name)

    @property
    def key(self) -> tuple[Column, ...]:
        """The columns of its replica identity."""
        return tuple(column for column in self.columns if column.is_key)

    def __str__(self) -> str:
        return str(self.table_name)

    def __repr__(self) -> str:
        return f"<Table {self} ({', '.join(column.name for column in self.columns)})>"
