# Generated from pgreplkit/_async/mesh/sequences.py by `nox -s sync`. Do not edit.
"""The sequences that columns of a mesh's tables own, or draw their defaults from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg.sql import SQL, Composed

from pgreplkit._sync.logical.sequences import read_sequences
from pgreplkit._sync.server.server import Server
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical.sequences import SequenceState
from pgreplkit.catalog.mesh import members as sql
from pgreplkit.catalog.view import table_in
from pgreplkit.plans.mesh.sequences import SequenceSpread, spread
from pgreplkit.values.tablename import TableName, schemas_and_names


def sequences_of(link: Link, tables: Sequence[TableName]) -> dict[TableName, bool]:
    """Return the names of the sequences, and whether the role may read each."""
    asked = [*schemas_and_names(tables)]
    records = link.all("read the sequences", sql.SEQUENCES, asked)
    return {table_in(record): record.pop("is_readable") for record in records}


def read_sequences_of(link: Link, tables: Sequence[TableName]) -> tuple[SequenceState, ...]:
    """Return those of the sequences that the role may read, with their positions."""
    found = sequences_of(link, tables)
    names = [name for name, is_readable in found.items() if is_readable]
    states = read_sequences(link, names) if names else {}
    return tuple(states[name] for name in names)


def spread_sequences(
    servers: Mapping[str, Server], tables: Sequence[TableName]
) -> list[SequenceSpread]:
    """Let each node draw numbers of its own from the sequences of the tables.

    Raises: ServerError for a sequence that counts down, or has too few numbers left.
    """
    # All nodes are read before any is changed: the numbers of each depend on those of all.
    states = {node: read_sequences_of(server._link, tables) for node, server in servers.items()}
    changes = spread(states)
    for change in changes:
        servers[change.node]._link.run(
            f"spread the sequence {change.name}",
            # As it is: the name may have braces, which format() would replace.
            Composed([SQL(change.sql)]),
            grant=f"ownership of the sequence {change.name}",
        )
    return changes
