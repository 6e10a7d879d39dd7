# Generated from pgreplkit/_async/logical/applyshapes.py by `nox -s sync`. Do not edit.
"""TargetShapes: the definitions of the subscriber's tables."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.conninfo import make_conninfo

from pgreplkit._sync.logical.drift import other_relations
from pgreplkit._sync.wire.cancelling import OwnConnection
from pgreplkit._sync.wire.closing import Closing
from pgreplkit._sync.wire.link import Link
from pgreplkit._sync.wire.opening import opening
from pgreplkit._sync.wire.pooling import insist_on_session
from pgreplkit._sync.wire.session import lift_limits
from pgreplkit.catalog.logical.applytables import (
    TARGET_TABLES,
    TargetTable,
    target_columns,
    target_keys,
    targets_in,
)
from pgreplkit.driver.conninfo import address
from pgreplkit.values.tablename import TableName


class TargetShapes(Closing):
    """The subscriber's tables, read in another session than the one that applies changes."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.tables: dict[TableName, TargetTable | None] = {}
        """By name; None for a table that does not exist."""
        self.others: dict[TableName, str] = {}
        """The kinds of relations that are no tables, such as a view."""
        self.has_deferred = False
        """Whether a constraint of one of them is checked at the commit."""

    @classmethod
    def connect(cls, conninfo: str) -> TargetShapes:
        """Open the session.

        Raises: ConnectionFailed; ServerError for the connection of a pooler.
        """
        where = address(conninfo)
        with opening(conninfo, operation := f"connect to {where}"):
            connection = OwnConnection[object].connect(
                make_conninfo(conninfo, client_encoding="UTF8"), autocommit=True
            )
            link = Link(connection, hides_values=True)
            try:
                insist_on_session(link, operation, where)
                lift_limits(connection)
            except BaseException:
                connection.close()
                raise
        return cls(link)

    def read(self, names: Sequence[TableName]) -> None:
        """Read tables, again if they are known."""
        # Unknown at first: a table that the server does not return no longer exists.
        for name in names:
            self.tables[name] = None
            self.others.pop(name, None)
        self.tables.update(read_targets(self.link, names))
        if missing := [name for name in names if self.tables[name] is None]:
            self.others.update(other_relations(self.link, missing))
        self.has_deferred = any(table and table.has_deferred for table in self.tables.values())

    def close(self) -> None:
        """Close the session."""
        self.link.connection.close()


def read_partitions(link: Link, names: Sequence[TableName]) -> list[str]:
    """Return the partitions of the tables, as SQL."""
    tables = (read_targets(link, names)).values()
    return [partition for table in tables for partition in table.partitions]


def read_targets(link: Link, names: Sequence[TableName]) -> dict[TableName, TargetTable]:
    """Return those of the tables that exist."""
    operation, major = "read the subscriber's tables", link.version.major
    asked = [[name.schema for name in names], [name.name for name in names]]
    # The names of types are qualified then.
    with link.qualified(operation) as within:
        return targets_in(
            within.all(operation, TARGET_TABLES, asked),
            within.all(operation, target_columns(major), asked),
            within.all(operation, target_keys(major), asked),
        )
