"""Read the tables of an upgrade: those of its publications, and those that none has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from pgreplkit._async.cluster.upgraderows import read_nonempty
from pgreplkit._async.primary import AsyncPrimary
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.cluster.upgrade import MISSED, TABLES, UNPUBLISHED, UserTable, user_table_in
from pgreplkit.catalog.view import table_in
from pgreplkit.plans.cluster.upgrade import Names
from pgreplkit.values.tablename import TableName


async def read_tables(link: AsyncLink) -> list[UserTable]:
    """Return the tables of the database, by name."""
    return [user_table_in(record) for record in await link.all("read the tables", TABLES)]


async def compared_groups(
    publisher: AsyncPrimary, groups: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[str]]:
    """Return the groups that are replicated: a publication may be older or newer than its slot."""
    slots = {slot.name for slot in await publisher.slots()}
    return {name: tables for name, tables in groups.items() if name in slots}


async def published_groups(old: AsyncPrimary, names: Names) -> dict[str, tuple[str, ...]]:
    """Return the tables of the upgrade's publications on the old server."""
    return await _groups_of(old, names.forward_in)


async def returned_groups(new: AsyncPrimary, names: Names) -> dict[str, tuple[str, ...]]:
    """Return the tables of the publications of the way back, on the new server."""
    return await _groups_of(new, names.back_in)


async def _groups_of(
    server: AsyncPrimary, own_in: Callable[[Iterable[str]], list[str]]
) -> dict[str, tuple[str, ...]]:
    """Return the tables of publications; ``own_in`` returns the upgrade's names among others."""
    publications = {one.name: one for one in await server.publications()}
    return {
        name: tuple(str(one.table) for one in await publications[name].tables())
        for name in own_in(publications)
    }


async def read_gone(new: AsyncPrimary, groups: Mapping[str, Sequence[str]]) -> list[TableName]:
    """Return the tables of publications that the new server no longer has."""
    there = {one.table for one in await read_tables(new._link)}
    published = sorted({TableName.parse(table) for group in groups.values() for table in group})
    return [table for table in published if table not in there]


async def read_missed(
    server: AsyncPrimary, publications: Sequence[str], *, with_rows: bool
) -> tuple[list[TableName], list[TableName]]:
    """Return the tables that none of the publications has, and those of them without a fence."""
    asked = [[*publications], [*publications], None]
    records = await server._link.all("read the tables", MISSED, asked)
    unpublished = [table_in(record) for record in records if not record["is_unfenced"]]
    if with_rows:
        unpublished = await read_nonempty(server._link, unpublished)
    return unpublished, [table_in(record) for record in records if record["is_unfenced"]]


async def read_unpublished(
    server: AsyncPrimary, publications: Iterable[str], *, with_rows: bool = False
) -> list[TableName]:
    """Return the tables of a server that none of the publications has."""
    records = await server._link.all("read the tables", UNPUBLISHED, [[*publications]])
    tables = [table_in(record) for record in records]
    return await read_nonempty(server._link, tables) if with_rows else tables
