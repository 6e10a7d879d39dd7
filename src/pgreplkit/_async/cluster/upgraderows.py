"""Look at the rows of the two servers of a major upgrade: none, or others since a TRUNCATE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from psycopg.sql import SQL, Literal

from pgreplkit._async.logical.compare import acompare
from pgreplkit._async.logical.drift import read_shapes
from pgreplkit._async.primary import AsyncPrimary
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.cluster.upgrade import FILES, REWRITTEN
from pgreplkit.catalog.view import table_in
from pgreplkit.driver import statements as parts
from pgreplkit.errors import KeyMissing, TableNotFound
from pgreplkit.values.tablename import TableName

_AT_ONCE = 200
"""Tables in one statement: planning grows with them."""

_READ = "SELECT ON ALL TABLES IN SCHEMA …"


async def read_nonempty(link: AsyncLink, tables: Sequence[TableName]) -> list[TableName]:
    """Return those of the tables that have rows."""
    found = []
    for begin in range(0, len(tables), _AT_ONCE):
        batch = tables[begin : begin + _AT_ONCE]
        asked = SQL(" UNION ALL ").join(
            SQL("SELECT {} AS place WHERE EXISTS (SELECT FROM ONLY {})").format(
                Literal(place), parts.table(table)
            )
            for place, table in enumerate(batch)
        )
        found += [
            batch[record["place"]] for record in await link.all("look for rows", asked, grant=_READ)
        ]
    return found


async def read_truncated(
    publisher: AsyncPrimary,
    subscriber: AsyncPrimary,
    publications: Iterable[str],
    files: dict[TableName, int],
) -> list[str]:
    """Return the tables that differ since a TRUNCATE, which 10 neither sends nor applies.

    Tables without a key cannot be compared under writes. They are removed from ``files``, so that
    ``truncated_since`` counts their rows when no one can write.
    """
    if _replicate_truncate(publisher, subscriber):
        return []
    records = await publisher._link.all("look for TRUNCATE", REWRITTEN, [[*publications]])
    found = []
    for table in map(table_in, records):
        differs = await _differs(publisher, subscriber, table, count=False)
        if differs is None:
            files.pop(table, None)
        elif differs:
            found.append(str(table))
    return found


async def read_files(
    publisher: AsyncPrimary, subscriber: AsyncPrimary, publications: Iterable[str]
) -> dict[TableName, int]:
    """Return the files of the published tables, for ``truncated_since``; empty if not needed."""
    if _replicate_truncate(publisher, subscriber):
        return {}
    records = await publisher._link.all("look for TRUNCATE", FILES, [[*publications]])
    return {table_in(record): record["file"] for record in records}


async def truncated_since(
    publisher: AsyncPrimary,
    subscriber: AsyncPrimary,
    publications: Iterable[str],
    files: Mapping[TableName, int],
) -> list[str]:
    """Return the tables that differ since a TRUNCATE after the checks, when no one can write.

    ``files`` are those of the checks; without that of a table, as in another process, it is
    compared if it does not have its first file.
    """
    if _replicate_truncate(publisher, subscriber):
        return []
    records = await publisher._link.all("look for TRUNCATE", FILES, [[*publications]])
    changed = [
        table
        for record in records
        if record["file"] != files.get(table := table_in(record), record["first"])
    ]
    return [
        str(table) for table in changed if await _differs(publisher, subscriber, table, count=True)
    ]


def _replicate_truncate(publisher: AsyncPrimary, subscriber: AsyncPrimary) -> bool:
    return all(one._link.has("publication.truncate") for one in (publisher, subscriber))


async def _differs(
    publisher: AsyncPrimary, subscriber: AsyncPrimary, table: TableName, *, count: bool
) -> bool | None:
    """Return whether the rows differ, None if it is unknown.

    ``count`` those of a table without a key, if no one can write.
    """
    try:
        diffs = 0
        async for part in acompare(publisher, subscriber, [table]):
            diffs += len(part.diffs)
        return bool(diffs)
    except (KeyMissing, TableNotFound):
        # Without a key, or after DDL, rows are not compared: at least those of an empty table are
        # found.
        links = (publisher._link, subscriber._link)
        shapes = [await read_shapes(link, [table]) for link in links]
        if {} in shapes:
            return True
        if count:
            counted = SQL("SELECT count(*) FROM ONLY {}").format(parts.table(table))
            here, there = [await link.one("count the rows", counted, grant=_READ) for link in links]
            return bool(here != there)
        empty = [await read_nonempty(link, [table]) for link in links]
        return True if empty[0] != empty[1] else None
