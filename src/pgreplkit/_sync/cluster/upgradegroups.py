# Generated from pgreplkit/_async/cluster/upgradegroups.py by `nox -s sync`. Do not edit.
"""Read the tables of an upgrade: those of its publications, and those that none has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from pgreplkit._sync.cluster.upgraderows import read_nonempty
from pgreplkit._sync.primary import Primary
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.cluster.upgrade import MISSED, TABLES, UNPUBLISHED, UserTable, user_table_in
from pgreplkit.catalog.view import table_in
from pgreplkit.plans.cluster.upgrade import Names
from pgreplkit.values.tablename import TableName


def read_tables(link: Link) -> list[UserTable]:
    """Return the tables of the database, by name."""
    return [user_table_in(record) for record in link.all("read the tables", TABLES)]


def compared_groups(
    publisher: Primary, groups: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[str]]:
    """Return the groups that are replicated: a publication may be older or newer than its slot."""
    slots = {slot.name for slot in publisher.slots()}
    return {name: tables for name, tables in groups.items() if name in slots}


def published_groups(old: Primary, names: Names) -> dict[str, tuple[str, ...]]:
    """Return the tables of the upgrade's publications on the old server."""
    return _groups_of(old, names.forward_in)


def returned_groups(new: Primary, names: Names) -> dict[str, tuple[str, ...]]:
    """Return the tables of the publications of the way back, on the new server."""
    return _groups_of(new, names.back_in)


def _groups_of(
    server: Primary, own_in: Callable[[Iterable[str]], list[str]]
) -> dict[str, tuple[str, ...]]:
    """Return the tables of publications; ``own_in`` returns the upgrade's names among others."""
    publications = {one.name: one for one in server.publications()}
    return {
        name: tuple(str(one.table) for one in publications[name].tables())
        for name in own_in(publications)
    }


def read_gone(new: Primary, groups: Mapping[str, Sequence[str]]) -> list[TableName]:
    """Return the tables of publications that the new server no longer has."""
    there = {one.table for one in read_tables(new._link)}
    published = sorted({TableName.parse(table) for group in groups.values() for table in group})
    return [table for table in published if table not in there]


def read_missed(
    server: Primary, publications: Sequence[str], *, with_rows: bool
) -> tuple[list[TableName], list[TableName]]:
    """Return the tables that none of the publications has, and those of them without a fence."""
    asked = [[*publications], [*publications], None]
    records = server._link.all("read the tables", MISSED, asked)
    unpublished = [table_in(record) for record in records if not record["is_unfenced"]]
    if with_rows:
        unpublished = read_nonempty(server._link, unpublished)
    return unpublished, [table_in(record) for record in records if record["is_unfenced"]]


def read_unpublished(
    server: Primary, publications: Iterable[str], *, with_rows: bool = False
) -> list[TableName]:
    """Return the tables of a server that none of the publications has."""
    records = server._link.all("read the tables", UNPUBLISHED, [[*publications]])
    tables = [table_in(record) for record in records]
    return read_nonempty(server._link, tables) if with_rows else tables
