"""Table and Column: the tables of a stream of changes."""

import attrs

from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.tablename import TableName


class RelationIdentity(OpenEnum):
    """The replica identity of a table, as in pg_class.relreplident."""

    DEFAULT = "d"
    """The primary key."""
    NOTHING = "n"
    FULL = "f"
    """All columns."""
    INDEX = "i"
    """The columns of a unique index."""


@attrs.frozen
class Column(Record):
    """A column of a table whose changes are streamed.

    Source: the message Relation of pgoutput.
    """

    name: str
    type_oid: int
    type_modifier: int
    """pg_attribute.atttypmod; -1 if the type has no modifier."""
    is_key: bool
    """Whether the column is part of the replica identity."""
    type_name: TableName | None = None
    """Schema and name of its type, unless it is a built-in type."""


@attrs.frozen(repr=False)
class Table(Record):
    """A table as it was at the time of its changes.

    After ALTER TABLE the stream continues with another Table; changes keep their own. The server
    also sends an unaltered table again, as after ANALYZE: compare tables with ``==``.

    Source: the message Relation of pgoutput.
    """

    _is_named = True

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    """The published columns."""
    replica_identity: RelationIdentity = RelationIdentity.DEFAULT

    @property
    def table_name(self) -> TableName:
        """The schema and name as one value; ``str()`` returns it as SQL."""
        return TableName(self.schema, self.name)

    @property
    def key(self) -> tuple[Column, ...]:
        """The columns of the replica identity."""
        return tuple(column for column in self.columns if column.is_key)

    def __str__(self) -> str:
        return str(self.table_name)

    def __repr__(self) -> str:
        return f"<Table {self} ({', '.join(column.name for column in self.columns)})>"
