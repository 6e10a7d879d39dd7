"""Table and Column: a stream's description of the tables whose changes it carries."""

from __future__ import annotations

import attrs

from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.tablename import TableName


class RelationIdentity(OpenEnum):
    """The replica identity of a table: how a change identifies its old row (``relreplident``)."""

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
    """The type modifier (pg_attribute.atttypmod); -1 if the type has none."""
    is_key: bool
    """Whether the column belongs to the replica identity."""
    type_name: TableName | None = None
    """The schema and name of its type, unless the type is built into PostgreSQL."""


@attrs.frozen(repr=False)
class Table:
    """The definition of a table at the time of the changes that refer to it.

    After ALTER TABLE later changes refer to another Table. The server may also describe an
    unaltered table again, as after ANALYZE: compare with ``==``.

    Source: the message Relation of pgoutput.
    """

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    """The published columns."""
    replica_identity: RelationIdentity = RelationIdentity.DEFAULT

    @property
    def table_name(self) -> TableName:
        """The schema and name as one value, which ``str`` writes in SQL."""
        return TableName(self.schema, self.name)

    @property
    def key(self) -> tuple[Column, ...]:
        """The columns of its replica identity."""
        return tuple(column for column in self.columns if column.is_key)

    def __str__(self) -> str:
        return str(self.table_name)

    def __repr__(self) -> str:
        return f"<Table {self} ({', '.join(column.name for column in self.columns)})>"
