"""The sequences that columns of a mesh's tables own, or draw their defaults from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg.sql import SQL, Composed

from pgreplkit._async.logical.sequences import read_sequences
from pgreplkit._async.server.server import AsyncServer
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.logical.sequences import SequenceState
from pgreplkit.catalog.mesh import members as sql
from pgreplkit.catalog.view import table_in
from pgreplkit.plans.mesh.sequences import SequenceSpread, spread
from pgreplkit.values.tablename import TableName, schemas_and_names


async def sequences_of(link: AsyncLink, tables: Sequence[TableName]) -> dict[TableName, bool]:
    """Return the names of the sequences, and whether the role may read each."""
    asked = [*schemas_and_names(tables)]
    records = await link.all("read the sequences", sql.SEQUENCES, asked)
    return {table_in(record): record.pop("is_readable") for record in records}


async def read_sequences_of(
    link: AsyncLink, tables: Sequence[TableName]
) -> tuple[SequenceState, ...]:
    """Return those of the sequences that the role may read, with their positions."""
    found = await sequences_of(link, tables)
    names = [name for name, is_readable in found.items() if is_readable]
    states = await read_sequences(link, names) if names else {}
    return tuple(states[name] for name in names)


async def spread_sequences(
    servers: Mapping[str, AsyncServer], tables: Sequence[TableName]
) -> list[SequenceSpread]:
    """Let each node draw numbers of its own from the sequences of the tables.

    Raises: ServerError for a sequence that counts down, or has too few numbers left.
    """
    # All nodes are read before any is changed: the numbers of each depend on those of all.
    states = {
        node: await read_sequences_of(server._link, tables) for node, server in servers.items()
    }
    changes = spread(states)
    for change in changes:
        await servers[change.node]._link.run(
            f"spread the sequence {change.name}",
            # As it is: the name may have braces, which format() would replace.
            Composed([SQL(change.sql)]),
            grant=f"ownership of the sequence {change.name}",
        )
    return changes
